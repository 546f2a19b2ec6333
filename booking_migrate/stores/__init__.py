"""Where bookings live: the ports (`ports`) and the adapters behind them.

`places` says what a user may write, `open` and `connection` turn it into an adapter. Files are opened, read and written in
`files`; collections are `mongo`, the only package that imports the driver. `rejects` keeps rejected bookings.

What opens a place raises `MissingUri` if it needs a server or a database and none is given, `BadConfiguration` if these cannot be used,
and what asks the server then, what `mongo` raises. Docstrings name what else is raised.
"""
