"""The result of a command, for people and for programs.

`model`, `model_dry_run` and `model_lifecycle` are the reports, whose JSON is an API; `verification` and `lifecycle` build them
from outcomes. `pages` builds of any report one `page` of plain words, and `formats` renders any page for the terminal and as
Markdown, HTML or JUnit XML. `files` writes reports by suffix.
"""
