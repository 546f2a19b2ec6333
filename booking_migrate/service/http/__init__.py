"""The HTTP API: what comes in is checked and bounded here, what goes out is put into the envelope.

A request passes, from the outside in: `access_log` (one line a request) · `gate` (how many at once) · `intake` (how large,
which type, how slow a body may be) · `access` (who asks) · `routes` · `presentation`. `answers` knows every refusal's status.
"""
