"""The queue that answers come to: one per process, made under a new name after a fork.

Owns its name and how it is declared. Whoever holds a connection declares it (:mod:`amqtask.broker.reply_consumer`,
:mod:`amqtask.broker.reply_aio`); what arrives goes into the box.
"""

from __future__ import annotations

import logging
import os
import uuid
import weakref
from typing import TYPE_CHECKING

from amqtask.broker.fork_lock import ForkLock
from amqtask.errors import DecodeError
from amqtask.topology.declarations import QueueDeclare
from amqtask.wire.ids import new_id
from amqtask.wire.refusals import Refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.reply_box import ReplyBox
    from amqtask.wire.message import PropertiesLike

log = logging.getLogger(__name__)

PREFIX = "amqtask.reply."
"""How the names begin; a broker user needs the permissions configure, write and read for them."""

PREFETCH = 1000
"""Answers that may be under way to one consumer: it acknowledges what it has taken into memory, a little later."""

ACK_PAUSE = 0.05
"""Seconds between an answer and its acknowledgement: the caller goes on first, and many are acknowledged at once. What
comes again meanwhile, because the connection was lost, is known by its id."""

PREPARING = 10.0
"""Seconds to wait for the declaration before a send; a frozen broker is found out by the send then."""

_UNUSED = 86_400_000
"""Milliseconds after which the broker deletes the queue of a process that is gone."""

_LONGEST = 4_294_967_295
"""Milliseconds that RabbitMQ takes for a time."""


class ReplyQueue:
    """The reply queue of one app in this process. Thread-safe.

    Attributes:
        box: where the answers go.
        inherited_before: when this process was forked off after the queue was made, the first id made here: lesser
            ones are the parent's.

    Args:
        box: where the answers go.
        expires: seconds that answers wait in the queue; 0 for as long as it exists.
        check: raises DecodeError for an answer that must not be believed.
    """

    def __init__(
        self,
        box: ReplyBox,
        expires: float,
        check: Callable[[PropertiesLike, bytes], None] = lambda _properties, _body: None,
    ) -> None:
        self.box, self._check = box, check
        self._refusals = Refusals(log, "An answer to this process")
        self._expires = min(max(1, int(expires * 1000)), _LONGEST) if expires else None
        self._lock = ForkLock()
        self._name: str | None = None
        self.inherited_before: str | None = None
        _queues.add(self)

    def take(self, properties: PropertiesLike, body: bytes) -> None:
        """An answer has come."""
        key = properties.correlation_id
        if not key:
            log.debug("an answer without correlation_id was thrown away")
            return
        try:
            self._check(properties, body)
        except DecodeError as error:
            self._refusals.tell(f"task {key[:100]!r}: {error}")
        else:
            self.box.put(key, body)

    @property
    def name(self) -> str:
        """Its name in this process; from now on it is wanted."""
        name = self._name
        if name is None:
            with self._lock:
                if self._name is None:
                    self._name = f"{PREFIX}{uuid.uuid4()}"
                return self._name
        return name

    @property
    def wanted(self) -> bool:
        """Has anybody asked for the name? Else no answer can come."""
        return self._name is not None

    @property
    def step(self) -> QueueDeclare:
        """Its declaration: durable and neither exclusive nor auto-delete, so that it outlives every connection."""
        arguments = {"x-expires": max(_UNUSED, self._expires or 0)}
        if self._expires is not None:
            arguments["x-message-ttl"] = self._expires
        return QueueDeclare(self.name, arguments=arguments)

    @property
    def renew_after(self) -> float:
        """Seconds after which an unused queue is to be declared again, lest the broker takes it for left behind."""
        return _UNUSED / 2000

    def forked(self) -> None:
        """In the child of a fork: the name is the parent's."""
        self._name = None
        self.inherited_before = new_id()


_queues: weakref.WeakSet[ReplyQueue] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for queue in list(_queues):
        queue.forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
