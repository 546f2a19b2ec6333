"""The report of a dry-run: the common report with a part of its own, and how each format shows it.

`model` is that part, `wording` says it in words that all formats share, `charts` measures out bars; `text`, `markdown`
and `html` render the whole.
"""
