"""The HTTP API: validates requests, limits the load, and puts answers into the envelope.

The path of a request, from the outside in: `access_log` (one line per request) · `gate` (limits of concurrent requests
and of bodies) · `access` (authentication) · `routes` · `presentation` (JSON). `answers` maps refusals to HTTP statuses.
"""
