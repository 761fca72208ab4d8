"""The wire format: Celery's message protocol 2, kept lean. No module here knows a socket."""
