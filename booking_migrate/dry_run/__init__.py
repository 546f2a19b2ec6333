"""The dry-run: the migration itself over a target that writes nothing, watched closely.

`run.dry_run` lets the stream engine work over a `stores.preview.PreviewTarget`; `risks.RiskWatch` and
`statistics.Statistics` look on. `references` and `needs` ask the server about everything around the bookings. What
came of it is an `outcome.DryRunOutcome`, and reports are made of nothing else.
"""
