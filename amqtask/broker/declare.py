"""Runs the steps of a topology against a broker, without blocking.

Owns the order (one step after the other, on a channel of its own) and the readable report of the first refusal.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from amqtask.broker import faults
from amqtask.broker.codes import PRECONDITION_FAILED
from amqtask.errors import AmqtaskError, BrokerError, BrokerUnavailable
from amqtask.topology.declarations import ExchangeBind, ExchangeDeclare, QueueBind, QueueDeclare

logger = logging.getLogger(__name__)

DECLARE_TIMEOUT = 30.0
"""Seconds a declaration may take, waiting for a connection included."""

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from amqtask.broker.interface import Channel, Connection, Layout, Loop
    from amqtask.topology.declarations import Step

    SendStep = Callable[[Channel, Step, Callable[[Any], None]], None]

    DeclareDone = Callable[[AmqtaskError | None], None]
    """Told the end: None, or the BrokerError or TopologyError of the first step that was refused."""


def declare_steps(
    connection: Connection, steps: Sequence[Step], done: DeclareDone, on_step: Callable[[], None] | None = None
) -> None:
    """Make the broker have what the steps say, in order; stops at the first refusal.

    Args:
        connection: an open one; it stays usable whatever happens, except that a broker before 4.0 closes it for an
            exchange type it does not know.
        steps: what to declare; what exists already with the same arguments is left alone.
        done: called exactly once, from the loop, never from within this call.
        on_step: called whenever one more step begins: the broker has answered until then.
    """
    _Run(steps, done, send_step, on_step).begin(connection)


def verify_steps(
    connection: Connection, steps: Sequence[Step], done: DeclareDone, on_step: Callable[[], None] | None = None
) -> None:
    """See that every exchange and queue of the steps exists, changing nothing; needs no configure permission.

    Arguments and bindings can't be read over AMQP without declaring. The rest is as in :func:`declare_steps`.
    """
    looked_for = [step for step in steps if isinstance(step, ExchangeDeclare | QueueDeclare)]
    _Run(looked_for, done, _look, on_step).begin(connection)


class _Run:
    """One run over the steps."""

    def __init__(
        self, steps: Sequence[Step], done: DeclareDone, send: SendStep, on_step: Callable[[], None] | None
    ) -> None:
        self._send, self._on_step = send, on_step
        self._left: Iterator[Step] = iter(steps)
        self._done: DeclareDone | None = done
        self._current: Step | None = None
        self._channel: Channel | None = None

    def begin(self, connection: Connection) -> None:
        self._connection = connection
        connection.open_channel(self._opened, self._closed)

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        self._next(None)

    def _next(self, _reply: Any) -> None:
        self._current = next(self._left, None)
        if self._channel is None or self._done is None:
            return
        if self._current is None:
            done, self._done = self._done, None
            self._channel.close()
            done(None)
        else:
            if self._on_step is not None:
                self._on_step()
            self._send(self._channel, self._current, self._next)

    def _closed(self, code: int, text: str) -> None:
        if self._done is not None and self._current is not None and is_tolerable(self._current, code):
            logger.info("%s exists with other properties, and is used as it is: %s", subject(self._current), text)
            self.begin(self._connection)
            return
        done, self._done = self._done, None
        if done is None:
            return
        if self._current is None:
            done(BrokerUnavailable(f"connection lost before declaring: {text}"))
        else:
            done(faults.declare_refused(code, text, subject(self._current)))


def is_tolerable(step: Step, code: int) -> bool:
    """Whether a step was refused for being there with other properties, and that will do."""
    return code == PRECONDITION_FAILED and isinstance(step, ExchangeDeclare | QueueDeclare) and step.lenient


def send_step(channel: Channel, step: Step, callback: Callable[[Any], None]) -> None:
    """Send the AMQP method of one step; ``callback`` gets the broker's reply."""
    _send(channel, step, {"callback": callback})


def _look(channel: Channel, step: Step, callback: Callable[[Any], None]) -> None:
    """Ask whether the object of a step exists (AMQP passive declare)."""
    if isinstance(step, ExchangeDeclare):
        channel.exchange_declare(step.name, step.type, passive=True, callback=callback)
    elif isinstance(step, QueueDeclare):
        channel.queue_declare(step.name, passive=True, callback=callback)


def send_blocking(channel: Any, step: Step) -> None:
    """The same on a channel of pika's blocking connection, which waits for the reply itself."""
    _send(channel, step, {})


def _send(channel: Any, step: Step, how: dict[str, Any]) -> None:
    match step:
        case ExchangeDeclare():
            channel.exchange_declare(
                step.name,
                step.type,
                durable=step.durable,
                auto_delete=step.auto_delete,
                internal=step.internal,
                arguments=dict(step.arguments) or None,
                **how,
            )
        case QueueDeclare():
            channel.queue_declare(
                step.name,
                passive=step.passive,
                durable=step.durable,
                exclusive=step.exclusive,
                auto_delete=step.auto_delete,
                arguments=dict(step.arguments) or None,
                **how,
            )
        case QueueBind():
            channel.queue_bind(
                step.queue, step.exchange, step.routing_key, arguments=dict(step.arguments) or None, **how
            )
        case ExchangeBind():
            channel.exchange_bind(
                step.destination, step.source, step.routing_key, arguments=dict(step.arguments) or None, **how
            )


def subject(step: Step) -> str:
    """The object of a step, for messages: ``queue 'emails'``."""
    match step:
        case ExchangeDeclare():
            return f"exchange {step.name!r}"
        case QueueDeclare():
            return f"queue {step.name!r}"
        case QueueBind():
            return f"binding of queue {step.queue!r} to exchange {step.exchange!r}"
        case ExchangeBind():
            return f"binding of exchange {step.destination!r} to exchange {step.source!r}"


class DeclareQueue:
    """Declarations that wait for a connection, or for another one when theirs is lost. Not thread-safe."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: list[_Declaration] = []
        self._error: BrokerError | None = None

    @property
    def waiting(self) -> int:
        """Declarations that are not finished."""
        return len(self._waiting)

    def add(self, layout: Layout, done: DeclareDone, timeout: float, connection: Connection | None) -> None:
        """Take one; runs it at once when there is a connection. Nothing is called back from within."""
        item = _Declaration(layout, done)
        item.timer = self._loop.call_later(timeout, lambda: self._expire(item, timeout))
        self._waiting.append(item)
        if connection is not None:
            self._loop.call_later(0, lambda: self._start(item, connection))

    def run(self, connection: Connection) -> None:
        """There is a connection: run all that wait."""
        self._error = None
        for item in list(self._waiting):
            self._start(item, connection)

    def interrupted(self, error: BrokerError) -> None:
        """The connection is gone; what was running begins again on the next one."""
        self._error = error

    def fail(self, error: BrokerError) -> None:
        """Give up on all."""
        for item in list(self._waiting):
            self._finish(item, error)

    def _start(self, item: _Declaration, connection: Connection) -> None:
        try:
            steps = item.layout(connection.version)
            declare_steps(connection, steps, lambda error: self._ran(item, error))
        except AmqtaskError as error:
            self._finish(item, error)

    def _ran(self, item: _Declaration, error: AmqtaskError | None) -> None:
        if not isinstance(error, BrokerUnavailable):  # else it waits for the next connection, or its time
            self._finish(item, error)

    def _expire(self, item: _Declaration, timeout: float) -> None:
        reason = self._error or "the broker does not answer"
        self._finish(item, BrokerUnavailable(f"nothing was declared within {timeout:g} s: {reason}"))

    def _finish(self, item: _Declaration, error: AmqtaskError | None) -> None:
        if item in self._waiting:
            self._waiting.remove(item)
            self._loop.cancel(item.timer)
            item.done(error)


class _Declaration:
    """A layout, and who waits for it."""

    __slots__ = ("done", "layout", "timer")

    def __init__(self, layout: Layout, done: DeclareDone) -> None:
        self.layout, self.done = layout, done
        self.timer: object = None
