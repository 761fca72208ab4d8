"""A token queue made ready for use: it exists, means this limit, and holds all its tokens. Owns just that.

The number of tokens is the limit, so it must be right whatever happened before. While anybody consumes it is, for each
has seen to it before. When nobody does, nothing is lent and it can be counted: what is missing (all of them, at first;
or those of a worker that died while it added them) is added by whoever holds a lock, an exclusive queue, which the
broker takes away with its owner's connection.
"""

from __future__ import annotations

import logging
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask.broker.codes import PRECONDITION_FAILED, RESOURCE_LOCKED
from amqtask.broker.declare import send_step
from amqtask.errors import BrokerError
from amqtask.wire.message import Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from amqtask.broker.interface import Channel, Connection
    from amqtask.broker.loop import SelectLoop
    from amqtask.broker.publisher import Publisher
    from amqtask.worker.limits.layout import TokenLayout

    Ask = Callable[[Callable[[Any], None]], object]
    """Begins something, and calls back with the answer."""

    Prepared = Callable[["BrokerError | None"], None]

logger = logging.getLogger(__name__)

_LOOK_AGAIN = 0.1
"""Seconds between two counts that must agree: a token that moves from queue to queue is in neither for a moment."""

_ADD_TIMEOUT = 30.0
_LOCK_EXPIRES = 120_000
"""Milliseconds after which a lock goes whose owner has lost its channel and could not delete it."""


class Filling:
    """One preparation. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        connection: the lock lives on it.
        publisher: adds tokens.
        layout: of the limit.
        insist: make the queues anew when they mean another limit; else they are taken as they are.
        prepared: told None or why not, once. Afterwards :meth:`unlock` has to be called, when something is consumed.
    """

    def __init__(
        self,
        loop: SelectLoop,
        connection: Connection,
        publisher: Publisher,
        layout: TokenLayout,
        *,
        insist: bool,
        prepared: Prepared,
    ) -> None:
        self._loop, self._connection, self._publisher, self._layout = loop, connection, publisher, layout
        self._insist = insist
        self._prepared: Prepared | None = prepared
        self._channel: Channel | None = None
        self._plan = self._look
        self._locked = False

    def begin(self) -> None:
        """Begin, on a channel of its own."""
        self._connection.open_channel(self._opened, self._closed)

    def unlock(self) -> None:
        """Somebody consumes: others need not count."""
        if self._channel is not None and self._channel.is_open:
            if self._locked:
                self._channel.queue_delete(self._layout.lock)
            self._channel.close()

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        self._run(self._plan(channel), None)

    def _run(self, plan: Generator[Ask, Any, None], answer: Any) -> None:
        try:
            ask = plan.send(answer)
        except StopIteration:
            self._end(None)
        except BrokerError as error:
            self._end(error)
        else:
            ask(lambda answer: self._run(plan, answer) if self._prepared is not None else None)

    def _end(self, error: BrokerError | None) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            if error is not None:
                self.unlock()
            prepared(error)

    def _closed(self, code: int, text: str) -> None:
        self._channel, self._locked = None, False
        if self._prepared is None:
            return
        if code == RESOURCE_LOCKED:  # somebody else is about it
            self._plan = self._look
            self._loop.call_later(random.uniform(0.05, 0.2), self.begin)  # noqa: S311 -- no secret
        elif code == PRECONDITION_FAILED and self._plan == self._look:
            if self._insist:
                logger.info("%s was made for another limit; replacing it", self._layout.tokens)
                self._plan = self._replace
            else:
                logger.info("%s was made for another limit, which stays in force: %s", self._layout.tokens, text)
                self._plan = self._adopt
            self.begin()
        else:
            self._end(BrokerError(f"{code} {text}"))

    # -- what is asked, in order -------------------------------------------------------------------

    def _declare(self, channel: Channel) -> Generator[Ask, Any, tuple[int, int]]:
        """Declare; returns how many consumers and how many tokens there are."""
        ready, consumers = 0, 0
        for step in self._layout.steps:
            frame = yield partial(send_step, channel, step)
            ready += frame.method.message_count
            consumers = frame.method.consumer_count
        return consumers, ready

    def _look(self, channel: Channel) -> Generator[Ask, Any, None]:
        consumers, ready = yield from self._declare(channel)
        if consumers or ready >= self._layout.count:
            return
        yield from self._lock(channel)
        consumers, first = yield from self._declare(channel)
        yield lambda done: self._loop.call_later(_LOOK_AGAIN, lambda: done(None))
        others, second = yield from self._declare(channel)
        ready = max(first, second)
        if not consumers and not others:
            fresh = ready == 0 and self._layout.cool is not None
            yield from self._add(self._layout.count - ready, self._layout.tokens if fresh else None)

    def _replace(self, channel: Channel) -> Generator[Ask, Any, None]:
        """The former tokens may have been spent a moment ago: the new ones are good after a period."""
        yield from self._lock(channel)
        for step in self._layout.steps:
            yield partial(_delete, channel, step.name)
        yield from self._declare(channel)
        yield from self._add(self._layout.count, None)

    def _adopt(self, channel: Channel) -> Generator[Ask, Any, None]:
        yield lambda done: channel.queue_declare(self._layout.tokens, passive=True, callback=done)

    def _lock(self, channel: Channel) -> Generator[Ask, Any, None]:
        self._locked = True
        expires = {"x-expires": _LOCK_EXPIRES}
        yield lambda done: channel.queue_declare(self._layout.lock, exclusive=True, arguments=expires, callback=done)

    def _add(self, count: int, queue: str | None) -> Generator[Ask, Any, None]:
        """Add tokens to a queue; None: where they are not good at once, if there is such a place."""
        target = queue or self._layout.cool or self._layout.tokens
        tokens = [Outgoing("", target, Properties(), b"")] * max(0, count)
        failed = yield lambda done: self._publisher.publish_many(tokens, _ADD_TIMEOUT, done)
        for error in failed.values():
            raise BrokerError(f"tokens can't be added to {target}: {error}")


def _delete(channel: Channel, queue: str, done: Callable[[Any], None]) -> None:
    channel.queue_delete(queue, callback=done)
