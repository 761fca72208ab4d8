"""A Transport that keeps what it is given, for tests of everything above the broker."""

from __future__ import annotations

from amqtask.topology.declarations import Version


class RecordingTransport:
    """Confirms everything, unless told that a queue does not exist."""

    def __init__(self):
        self.sent = []
        self.declared = []
        self.failures = {}
        self.version = Version(4, 3)

    @property
    def last(self):
        return self.sent[-1]

    def fail(self, key, error, times=1):
        """Raise ``error`` for the next messages with this routing key."""
        self.failures[key] = [error] * times

    def _error(self, message):
        waiting = self.failures.get(message.routing_key)
        return waiting.pop(0) if waiting else None

    def send(self, message, *, timeout):
        error = self._error(message)
        if error is not None:
            raise error
        self.sent.append(message)

    def send_many(self, messages, *, timeout):
        errors = {}
        for index, message in enumerate(messages):
            error = self._error(message)
            if error is None:
                self.sent.append(message)
            else:
                errors[index] = error
        return errors

    async def asend(self, message, *, timeout):  # noqa: ASYNC109 -- a Transport has it
        self.send(message, timeout=timeout)

    def declare(self, layout):
        self.declared.append(list(layout(self.version)))

    async def adeclare(self, layout):
        self.declare(layout)

    def close(self):
        pass
