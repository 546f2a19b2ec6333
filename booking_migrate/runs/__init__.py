"""The life of a run: journal states, lock, session, signals, throttle, workers, status. The verbs are built on it."""
