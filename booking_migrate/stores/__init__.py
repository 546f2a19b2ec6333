"""Where bookings live: one set of ports (`base`) and the adapters behind them.

`locate` turns what the user wrote into an adapter. Files are `extended_json` and `bson_dump`, sorted on disk by `spool`
and written beside and renamed by `file_target`; collections are `mongo` (the only module that imports the driver).
"""
