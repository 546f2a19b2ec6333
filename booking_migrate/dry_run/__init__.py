"""The dry-run: the migration itself, into a target that writes nothing, with observers.

`run.dry_run` runs the stream engine with a `stores.preview.PreviewTarget`; `risks.RiskWatch` and
`statistics.Statistics` observe it. `references` and `needs` ask the server about everything around the bookings. The
result is an `outcome.DryRunOutcome`, from which alone reports are derived.
"""
