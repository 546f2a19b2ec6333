"""Where bookings live: the ports (`ports`) and the adapters behind them.

`places` says what a user may write, `open` and `connection` turn it into an adapter. Files are opened, read and written in
`files`; collections are `mongo`, the only package that imports the driver. `rejects` keeps rejected bookings.
"""
