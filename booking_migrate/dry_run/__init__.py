"""The dry-run: the migration itself, into a target that writes nothing, with an observer.

`run.dry_run` runs the pipeline of `migrate` into a `stores.preview.PreviewTarget`; `risks.RiskWatch` observes it, and has
`booking_risks.find_risks` and `samples.SampleWatch` look at bookings. `risk_kinds.RISKS` has their texts and thresholds. `needs.find_needs` asks the server about everything around
the bookings. The result is an `outcome.DryRunOutcome`, from which alone reports are derived.
"""
