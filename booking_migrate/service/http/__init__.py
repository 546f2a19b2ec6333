"""The HTTP API: validates requests, limits the load, and puts answers into the envelope.

The path of a request: `gate` (access log, limits, authentication), `application` (routes; requests and responses are
described in `models`), `answers` (JSON, and the HTTP status of each refusal).
"""
