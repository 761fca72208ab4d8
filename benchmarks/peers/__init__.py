"""What is compared: one module per peer with its tasks and its producer, and how their workers are started.

A peer's module is imported in clients and workers only, never by the harness. It offers ``Client(settings)``
with ``send()``, ``send_many(count) -> count``, ``send_numbered(number)``, ``flush()`` and ``close()``; its
tasks call :func:`harness.counter.done`, the numbered one :func:`harness.counter.moment` first.
"""
