"""The result of a command, for people and for programs.

`model`, `model_dry_run` and `lifecycle` are the reports, whose JSON is an API, with what builds them from outcomes;
`verification` builds those of verify and explain. `pages` builds of any report one `page` of plain words; `terminal`, `html` and
`ci` (Markdown and JUnit XML) render any page. `files` writes reports by suffix.
"""
