"""Dead letters: reading, replaying and dropping the messages that failed in a queue.

Owns what is read of them and how they are moved. A replay is confirmed in the queue before the dead letter is
acked, so nothing is lost on the way; a cut connection may leave a message in both places.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from amqtask.errors import AmqtaskError, BrokerError
from amqtask.topology.delays import dead_name
from amqtask.wire import dead_headers
from amqtask.wire.accept import without_pickle
from amqtask.wire.again import sent_again
from amqtask.wire.codec import decode
from amqtask.wire.compression import MAX_BODY
from amqtask.wire.message import Outgoing, strip_broker_headers

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping

    from amqtask.broker.admin import Admin, Received
    from amqtask.wire.message import PropertiesLike
    from amqtask.wire.signing import Signer

_NOT_REPLAYED = dead_headers.DEAD_HEADERS | {"retries", "eta", "expires"}
"""Headers of the failed attempts. ``expires`` too: who replays a message wants it to run."""


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A dead letter, as far as its headers tell; None where they don't.

    Attributes:
        id: task id; for a message without one ``body-`` and the start of a hash, the same at every look.
        task: name of the task.
        reason: one word: ours (``failed``, ``unknown_task``, ...) or the broker's (``expired``, ``delivery_limit``).
        exception: type of the exception.
        message: of the exception, or the reason in words.
        traceback: of the exception.
        worker: node name of the worker that gave it up.
        attempts: how often it was tried.
        first_time, last_time: of its failures, ISO 8601.
        headers: all of them.
        properties, body: as received.
    """

    id: str
    task: str | None
    reason: str | None
    exception: str | None
    message: str | None
    traceback: str | None
    worker: str | None
    attempts: int | None
    first_time: str | None
    last_time: str | None
    headers: Mapping[str, Any]
    properties: PropertiesLike
    body: bytes

    @property
    def error(self) -> str:
        """Exception and message on one line."""
        return ": ".join(part for part in (self.exception, self.message) if part)

    def call(self, accept: Collection[str], limit: int = MAX_BODY) -> tuple[tuple[Any, ...], dict[str, Any]] | str:
        """Arguments and keyword arguments, or the reason why they can't be read.

        Args:
            accept: names of serializers that may be used; pickle is not, for a dead letter may be a forged one.
            limit: bytes that a compressed body may unpack to (``broker_max_message_size``).
        """
        try:
            message = decode(self.properties, self.body, without_pickle(accept), limit)
        except AmqtaskError as error:
            return str(error)
        return message.args, message.kwargs


class DeadLetters:
    """The dead letters of one queue. Each call looks at those that are there when it starts, oldest first.

    Messages that are looked at are taken from the queue without being acked and go back when the look is
    over; a second command at the same time does not see them meanwhile. Not thread-safe.

    Args:
        admin: an open connection.
        queue: the queue in which the messages failed.
        signer: of the app; None signs nothing again.
    """

    def __init__(self, admin: Admin, queue: str, signer: Signer | None = None) -> None:
        self._admin, self._queue, self._signer = admin, queue, signer
        self.name = dead_name(queue)

    def __len__(self) -> int:
        state = self._admin.queue_state(self.name)
        return 0 if state is None else state.ready

    def read(self, limit: int | None = None) -> Iterator[DeadMessage]:
        """Look at the dead letters, the oldest first. To be read to its end: they go back to their places only then.

        Args:
            limit: how many to give; None: all.
        """
        for number, received in enumerate(self._walk()):
            if limit is None or number < limit:
                yield describe(received)

    def find(self, message_id: str) -> DeadMessage | None:
        """The oldest dead letter with this id."""
        found = None
        for received in self._walk():
            if found is None and identify(received.properties, received.body) == message_id:
                found = describe(received)
        return found

    def retry(self, ids: Collection[str] = ()) -> list[str]:
        """Put messages back into their queue as if they had never been tried; without ids, all.

        Returns:
            The ids of those that were moved.

        Raises:
            PublishError: the queue did not take one; it and all after it are still dead letters.
        """
        return self._settle(ids, replay=True)

    def drop(self, ids: Collection[str] = ()) -> list[str]:
        """Throw messages away for good; without ids, all. Returns the ids of those that are gone."""
        return self._settle(ids, replay=False)

    def _settle(self, ids: Collection[str], *, replay: bool) -> list[str]:
        done = []
        walk = self._walk()
        try:
            for received in walk:
                found = identify(received.properties, received.body)
                if ids and found not in ids:
                    continue
                if replay:
                    self._admin.publish(make_replay(received, self._queue, self._signer))
                self._admin.ack(received.tag)
                done.append(found)
        finally:
            walk.close()
        return done

    def _walk(self) -> Generator[Received]:
        """Take one message after the other; what was not acked goes back at the end, in its old order.

        The count at the start bounds it: a message that fails again meanwhile is not met a second time. All are
        received however it ends, see Admin.take: a part of them would not return to its place.
        """
        messages = self._admin.take(self.name, len(self))
        try:
            for received in messages:  # noqa: UP028 -- "yield from" would end what is read to its end below
                yield received
        finally:
            with contextlib.suppress(BrokerError):  # a lost connection returns them too
                for _ in messages:
                    pass
            self._admin.requeue()


def describe(received: Received) -> DeadMessage:
    """What the headers of a dead letter tell."""
    headers = dict(received.properties.headers or {})
    death = _last_death(headers)
    return DeadMessage(
        id=identify(received.properties, received.body),
        task=_text(headers.get("task")),
        reason=_text(headers.get(dead_headers.REASON)) or _text(death.get("reason")),
        exception=_text(headers.get(dead_headers.EXCEPTION)),
        message=_text(headers.get(dead_headers.MESSAGE)) or _broker_words(death),
        traceback=_text(headers.get(dead_headers.TRACEBACK)),
        worker=_text(headers.get(dead_headers.WORKER)),
        attempts=_number(headers.get(dead_headers.ATTEMPTS)),
        first_time=_text(headers.get(dead_headers.FIRST_TIME)) or _time(death.get("time")),
        last_time=_text(headers.get(dead_headers.LAST_TIME)) or _time(death.get("time")),
        headers=headers,
        properties=received.properties,
        body=received.body,
    )


def identify(properties: PropertiesLike, body: bytes) -> str:
    """The task id, else a name made of the content: what is no task has no id, and must be addressed all the same."""
    found = (properties.headers or {}).get("id") or properties.correlation_id
    if isinstance(found, str) and found:
        return found
    return f"body-{hashlib.sha256(body).hexdigest()[:12]}"


def make_replay(received: Received, queue: str, signer: Signer | None = None) -> Outgoing:
    """The message for another try from the beginning, without the marks of its failure.

    Args:
        received: the dead letter.
        queue: where to.
        signer: of the app: what was signed is signed again, whatever its age.
    """
    old = received.properties
    headers = strip_broker_headers(old.headers)
    headers = {key: value for key, value in headers.items() if key not in _NOT_REPLAYED}
    properties = sent_again(old, headers)
    if signer is not None:
        properties = signer.renew(old, received.body, properties, received.body)
    return Outgoing("", queue, properties, received.body)


def _last_death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The newest entry of ``x-death``, written first by the broker; empty when a worker told the reason."""
    deaths = headers.get("x-death")
    if dead_headers.REASON in headers or not isinstance(deaths, list) or not deaths or not isinstance(deaths[0], dict):
        return {}
    return deaths[0]


_BROKER_REASONS = {
    "expired": "it waited longer than its time to live",
    "rejected": "a consumer rejected it",
    "delivery_limit": "it was delivered too often without being settled",
    "maxlen": "the queue was full",
}


def _broker_words(death: Mapping[str, Any]) -> str | None:
    return (
        f"dead-lettered by the broker: {_BROKER_REASONS.get(str(death['reason']), death['reason'])}" if death else None
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _time(value: Any) -> str | None:
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
