"""What the code under test has sent: the fixture ``published``. Owns the reading, the matching and the words."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask.errors import AmqtaskError, EncodeError
from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.topology.delays import delayed_queues, ladder_level
from amqtask.wire.codec import decode, encode_body, serializers
from amqtask.wire.message import strip_broker_headers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from amqtask.app.app import Amqtask
    from amqtask.testing.vhosts import Vhost
    from amqtask.wire.message import Outgoing, TaskMessage

_SHOWN = 20
"""Messages listed when an assertion fails."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
_short.maxlist = _short.maxtuple = _short.maxdict = 8


@dataclass(frozen=True, slots=True)
class PublishedTask:
    """A task message as a worker will read it.

    Attributes:
        task, id: name and id; the name is None for a message that no worker could read, and ``problem`` says why.
        args, kwargs: the call.
        queues: the declared queues it goes to, delayed ones after their delay.
        exchange, routing_key: where it was published.
        retries: earlier attempts; more than 0 for what a worker has sent again.
        priority: 0 to 9.
        eta, expires: earliest and latest start, or None.
        headers: the caller's own.
        message: as it was published.
    """

    task: str | None
    id: str | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    queues: tuple[str, ...]
    exchange: str
    routing_key: str
    retries: int
    priority: int | None
    eta: datetime | None
    expires: datetime | None
    headers: Mapping[str, Any]
    message: Outgoing
    problem: str | None = None

    def __str__(self) -> str:
        where = ", ".join(self.queues) or f"exchange {self.exchange!r}, key {self.routing_key!r}"
        if self.task is None:
            return f"a message that is not a task ({self.problem}) -> {where}"
        later = f", not before {self.eta:%Y-%m-%d %H:%M:%S}" if self.eta is not None else ""
        again = f", retry {self.retries}" if self.retries else ""
        return f"{describe_call(self.task, self.args, self.kwargs)} -> {where}{later}{again}"


class Published:
    """Asserts and lists what was published in the test's vhost since the test began. Needs the dev broker.

    A task counts once, however often workers send it again (retries, dead letters).

    Args:
        app: of the test.
        vhost: of the test.
    """

    def __init__(self, app: Amqtask, vhost: Vhost) -> None:
        self._app, self._vhost = app, vhost

    def __call__(
        self,
        task: object | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        count: int | None = None,
    ) -> list[PublishedTask]:
        """Assert that such a task was sent, and return all that fit, oldest first.

        Args:
            task: name of the task, or the task itself; None: any.
            args: its positional arguments; None: any. Compared as they arrive, so a tuple equals a list.
            kwargs: its keyword arguments; None: any.
            queue: a queue it goes to; None: any.
            count: how many; None: one or more.

        Raises:
            AssertionError: there are none, or not that many; lists what was published.
        """
        __tracebackhide__ = True
        name = None if task is None else str(getattr(task, "name", task))
        everything = self.list()
        found = [one for one in everything if self._fits(one, name, args, kwargs, queue)]
        if (count is None and found) or len(found) == count:
            return found
        wanted = _wanted(name, args, kwargs, queue)
        how_many = "no message" if not found else f"{len(found)} message{'s' * (len(found) > 1)}"
        expected = "" if count is None else f" instead of {count}"
        raise AssertionError(f"{how_many}{expected} {wanted} published; {_listing(everything)}")

    def list(self, task: object | None = None, *, again: bool = False) -> list[PublishedTask]:
        """What was published, oldest first; asserts nothing.

        Args:
            task: name of the task, or the task itself; None: any.
            again: also what workers have sent again: retries and dead letters.
        """
        name = None if task is None else str(getattr(task, "name", task))
        seen: set[str] = set()
        found = []
        for message in self._vhost.published():
            one = self._read(message)
            if not again and one.id is not None:
                if one.id in seen:
                    continue
                seen.add(one.id)
            if name in (None, one.task):
                found.append(one)
        return found

    def _fits(
        self,
        one: PublishedTask,
        task: str | None,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        queue: str | None,
    ) -> bool:
        return (
            task in (None, one.task)
            and (queue is None or queue in one.queues)
            and (args is None or self._equal(list(args), list(one.args), one))
            and (kwargs is None or self._equal(dict(kwargs), dict(one.kwargs), one))
        )

    def _equal(self, wanted: Any, found: Any, one: PublishedTask) -> bool:
        """Compare as written by the test, then as it would have arrived: a Decimal may have become a text."""
        if _plain(wanted) == _plain(found):
            return True
        content_type = one.message.properties.content_type
        for name in self._app.settings.accept_content:
            serializer = serializers.get(name)
            if serializer.content_type == content_type:
                try:
                    return bool(serializer.loads(encode_body([wanted], {}, None, serializer))[0][0] == found)
                except EncodeError:  # holds something like mock.ANY
                    return False
        return False

    def _read(self, message: Outgoing) -> PublishedTask:
        problem, decoded, settings = None, None, self._app.settings
        try:
            decoded = decode(
                message.properties, message.body, settings.accept_content, settings.broker_max_message_size
            )
        except AmqtaskError as error:
            problem = str(error)
        return PublishedTask(
            task=decoded.task if decoded else None,
            id=decoded.id if decoded else None,
            args=decoded.args if decoded else (),
            kwargs=decoded.kwargs if decoded else {},
            queues=tuple(self._queues(message)),
            exchange=message.exchange,
            routing_key=message.routing_key,
            retries=decoded.retries if decoded else 0,
            priority=message.properties.priority,
            eta=decoded.eta if decoded else None,
            expires=decoded.expires if decoded else None,
            headers=_own(decoded),
            message=message,
            problem=problem,
        )

    def _queues(self, message: Outgoing) -> Sequence[str]:
        headers = message.properties.headers or {}
        if ladder_level(message.exchange) is not None:
            return delayed_queues(headers)
        if message.exchange == DEFAULT_EXCHANGE:
            return (message.routing_key,)
        return self._app.router.queues_for(message.exchange, message.routing_key, headers)


def describe_call(task: str | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """A call as Python writes it, long values cut: ``shop.mail('ada@example.org', copies=2)``."""
    parts = [_short.repr(value) for value in args] + [f"{name}={_short.repr(value)}" for name, value in kwargs.items()]
    return f"{task}({', '.join(parts)})"


def _wanted(task: str | None, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, queue: str | None) -> str:
    parts = [
        f"for task {task!r}" if task is not None else "",
        f"with args {_short.repr(tuple(args))}" if args is not None else "",
        f"with kwargs {_short.repr(dict(kwargs))}" if kwargs is not None else "",
        f"to queue {queue!r}" if queue is not None else "",
    ]
    return " ".join(["of any task" if not any(parts) else "", *parts]).strip().replace("  ", " ") + " was"


def _listing(everything: list[PublishedTask]) -> str:
    if not everything:
        return "nothing was published at all"
    lines = [f"  {number}. {one}" for number, one in enumerate(everything[:_SHOWN], 1)]
    more = len(everything) - _SHOWN
    return "\n".join(["there are:", *lines, *([f"  ... and {more} more"] if more > 0 else [])])


def _plain(value: Any) -> Any:
    """Tuples as lists, as they arrive; other values as they are, so that ``mock.ANY`` and the like still work."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _own(decoded: TaskMessage | None) -> Mapping[str, Any]:
    return {} if decoded is None else strip_broker_headers(decoded.headers)
