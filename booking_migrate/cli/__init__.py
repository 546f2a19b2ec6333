"""The command line: parse, wire, call one engine function, render, exit. One file per command.

`app` lists the commands. `options` are the options that commands share, `config_file` gives them values below the
environment, `run` is the one place where a command's errors become messages, reports and exit codes. What costs time
to import (the driver, jinja2, rich) is imported where it is used: ``--help`` must be there at once.
"""
