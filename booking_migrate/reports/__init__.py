"""What a run came to, for people and for machines: one report model, and a renderer for each format.

`model` is the report and how it is made of an outcome; `wording` is what all renderers say in the same words, `numbers` is
how they write numbers. `text`, `markdown`, `html` and `junit` each turn a report into a string; `files` writes
them by suffix.
"""
