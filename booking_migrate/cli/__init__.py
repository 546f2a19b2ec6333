"""The command line: parse, wire, call one function, render, exit. One file per command, imported when it is used.

`app` lists the commands with one line each; it is all that the help of the program needs. `options` are the options that
commands share, `parameters` turns such groups into parameters, `config_file` fills them below the environment, `open` makes
open places of them, and `run` is the one place where a command's errors become messages, reports and exit codes.
"""
