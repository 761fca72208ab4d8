"""Task events to JSON, in a thread of its own: arguments have to be decoded for their ``repr``, and both take time.

Owns that thread and what is shown of arguments. Events come out in the order in which they went in.
"""

from __future__ import annotations

import threading
from _queue import SimpleQueue  # gevent makes another one of queue.SimpleQueue, which is for greenlets
from typing import TYPE_CHECKING, NamedTuple

from amqtask.events.event import TASK_BATCH, message, shown
from amqtask.wire.codec import serializer_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.broker.interface import Loop
    from amqtask.events.event import Event
    from amqtask.wire.message import Outgoing
    from amqtask.worker.process.threads import NewThread, OwnThread

_SAFE = ("json", "msgpack")
"""Serializers that are read here: they run no code, and none of the user's."""

_BODY_MAX = 32 * 1024


class Body(NamedTuple):
    """Of a message whose arguments an event is to show."""

    content_type: str | None
    body: bytes


Noted = tuple["Event", Body | None]


class Encoder:
    """Turns lists of task events into messages. Made and called on the I/O thread, which also gets the messages.

    Args:
        loop: of the I/O thread.
        exchange: of events.
        hostname: node name of the worker.
        done: told each message, with the number of events in it.
        new_thread: makes a real thread where gevent has made greenlets of them.
    """

    def __init__(
        self,
        loop: Loop,
        exchange: str,
        hostname: str,
        done: Callable[[Outgoing, int], None],
        new_thread: NewThread = threading.Thread,
    ) -> None:
        self._loop, self._exchange, self._hostname, self._done = loop, exchange, hostname, done
        self._new_thread = new_thread
        self._batches: SimpleQueue[Sequence[Noted] | None] = SimpleQueue()
        self._thread: OwnThread | None = None

    def encode(self, batch: Sequence[Noted]) -> None:
        """Make a message of these events; ``done`` gets it soon."""
        if self._thread is None:
            self._thread = self._new_thread(target=self._work, name="amqtask-events", daemon=True)
            self._thread.start()
        self._batches.put(batch)

    def stop(self) -> None:
        """End the thread once it has done what it was given."""
        self._batches.put(None)

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._report(message(self._exchange, TASK_BATCH, self._hostname, filled_in(batch)), len(batch))

    def _report(self, made: Outgoing, count: int) -> None:
        self._loop.call_soon_threadsafe(lambda: self._done(made, count))


def filled_in(batch: Sequence[Noted]) -> list[Event]:
    """The events, with the arguments of those that came with a body."""
    for event, body in batch:
        if body is not None:
            event["args"], event["kwargs"] = arguments(body)
    return [event for event, _ in batch]


def arguments(sent: Body) -> tuple[str | None, str | None]:
    """What is shown of positional and keyword arguments; None for what is too large, or can't be read safely."""
    if len(sent.body) > _BODY_MAX:
        return None, None
    try:
        content = serializer_for(sent.content_type, _SAFE).loads(sent.body)
        args, kwargs = content[0], content[1]
        return shown(tuple(args)), shown(dict(kwargs))
    except Exception:  # anybody may have written it
        return None, None
