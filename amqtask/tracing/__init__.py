"""Tracing: OpenTelemetry's spans of sending and running tasks, as middleware and receivers of signals of our own."""
