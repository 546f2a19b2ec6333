"""Where bookings live: one set of ports (`base`) and the adapters behind them.

`places` says what a user may write, `locate` turns it into an adapter. Files are read by `extended_json` (one document),
`json_files` and `bson_dump` (many), sorted on disk by `spool`, and put together in `file_reader`; `file_target` writes
them through `output`, beside and renamed. `rejects` keeps rejected bookings. Collections are `mongo`, the only package
that imports the driver, reached through `connection`.
"""
