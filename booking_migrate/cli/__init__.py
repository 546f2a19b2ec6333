"""The command line: parse, wire, call one function, render, exit. A command's module is imported when it is used (see README.md).

`app` lists the commands with one line each; it is all that the help of the program needs.
"""
