"""The exception tree; every error amqtask raises on purpose is defined here.

AmqtaskError
├── ConfigError                 a setting, an option or the app itself is wrong; exit code 78
│   ├── UnknownEntry            a name that no periodic task has
│   └── TopologyError           routing.yaml, or the objects that exist on the broker
│       ├── DocumentError       routing.yaml: one or more problems with file:line:column
│       └── InequivalentArguments   an object exists on the broker with other arguments (AMQP 406)
├── UnknownTask                 a task name that no registered task has
├── BrokerError
│   ├── BrokerUnavailable       no connection could be made, or it was lost for good
│   │   └── DevBrokerGone       the dev broker has ended: trying again does not help
│   ├── AccessRefused           credentials, vhost, permission: trying again does not help
│   └── PublishError            a message that the broker did not take
│       ├── Unroutable          no queue would have received it (mandatory return), or no such exchange
│       ├── PublishTimeout      no confirm in time: the message may or may not be stored
│       ├── BrokerBlocked       the broker blocks publishers (memory or disk alarm)
│       ├── QueueFull           negative confirm: a full queue with overflow reject-publish
│       ├── MessageTooLarge     body or headers over the limit; nothing was sent
│       └── PartialPublish      some messages of a batch failed; says which
├── SerializationError
│   ├── EncodeError             arguments that the serializer can't write
│   ├── DecodeError             a body or headers that can't be read
│   └── ContentRefused          a content type outside accept_content
├── BackendError                a result backend or the table of periodic tasks has failed: trying again may help
│   └── ResultTooLarge          a result over result_max_size
├── NoResultBackend             results are asked for, but there is no result_backend
├── ResultTimeout               no result in time; is a TimeoutError
├── ResultGone                  the result has expired, or there never was such a task
├── ChordError                  a member of a chord failed, or the chord ran out of time
├── RemoteError                 an exception of a task whose class does not exist here; subclasses by name
├── WorkerLost                  the process that ran the task died too often
├── TaskRevoked                 the task was revoked, or had expired
└── TaskControl                 raised by a task to say what becomes of its message
    ├── Retry                   run again later
    ├── Reject                  dead-letter it, or put it back
    └── Ignore                  done, keep nothing
        └── Replaced            the same, for other work takes its place
MaxRetriesExceeded              is a TaskError: the last attempt failed and no exception was given
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


class AmqtaskError(Exception):
    """Base of every error amqtask raises on purpose."""


class ConfigError(AmqtaskError):
    """A setting, an option or the app itself is wrong; the program can't start like this (exit 78)."""


class UnknownEntry(ConfigError):
    """No periodic task has this name."""


class TopologyError(ConfigError):
    """The topology, as declared or as it exists on the broker, is wrong."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a routing document.

    Attributes:
        where: ``file:line:column``, or the name of the object when it was made in code.
        text: the cause, and the fix where one is known.
    """

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class DocumentError(TopologyError):
    """routing.yaml can't be used; carries every problem found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InequivalentArguments(TopologyError):
    """An exchange or queue exists on the broker with other arguments than declared.

    Attributes:
        kind: ``"queue"`` or ``"exchange"``.
        name: its name.
        argument: the argument the broker named, for example ``x-message-ttl``.
        wanted: what was declared, as the broker printed it.
        existing: what exists, as the broker printed it.
        difference: these three in words.
    """

    def __init__(self, kind: str, name: str, argument: str, wanted: str, existing: str) -> None:
        self.kind, self.name, self.argument = kind, name, argument
        self.wanted, self.existing = wanted, existing
        self.difference = f"{argument} is {existing or repr('')}, wanted {wanted or repr('')}"
        super().__init__(f"{kind} {name!r} exists with other arguments: {self.difference}")


class UnknownTask(AmqtaskError):
    """No registered task has this name."""


class BrokerError(AmqtaskError):
    """The broker, or the way to it, failed."""


class BrokerUnavailable(BrokerError, ConnectionError):
    """No connection could be made in time, or it was lost; trying again later may help."""


class DevBrokerGone(BrokerUnavailable):
    """The dev broker of this process tree has ended, with all it held; trying again does not help."""


class AccessRefused(BrokerError):
    """Wrong credentials, missing vhost or missing permission; trying again does not help.

    Attributes:
        for_all: the connection was refused, so nothing can be sent at all.
    """

    for_all = False


class PublishError(BrokerError):
    """A message was not taken by the broker."""


class Unroutable(PublishError):
    """No queue would have received the message, or its exchange does not exist; nothing was stored."""


class PublishTimeout(PublishError, TimeoutError):
    """No confirm came in time; the message may have been stored, so sending it again may duplicate it."""


class BrokerBlocked(PublishError):
    """The broker has blocked publishers (memory or disk alarm) for longer than allowed."""


class QueueFull(PublishError):
    """The broker refused the message: a queue is at its length limit (overflow: reject-publish)."""


class MessageTooLarge(PublishError):
    """Body or headers are over the limit; raised before anything is sent."""


class PartialPublish(PublishError):
    """Some messages of a batch were not taken.

    Attributes:
        errors: index in the batch -> error; every other message is confirmed.
        ids: task ids of the whole batch, in order, when they are known.
    """

    def __init__(self, errors: dict[int, AmqtaskError], total: int, ids: Sequence[str] = ()) -> None:
        self.errors, self.ids = errors, tuple(ids)
        first = next(iter(errors.items()))
        super().__init__(f"{len(errors)} of {total} messages failed; first, index {first[0]}: {first[1]}")


class SerializationError(AmqtaskError):
    """A message could not be written or read."""


class EncodeError(SerializationError, TypeError):
    """The arguments can't be written by the chosen serializer."""


class DecodeError(SerializationError):
    """A body or its headers can't be read as a task message."""


class ContentRefused(SerializationError):
    """The content type is not in ``accept_content``."""


class BackendError(AmqtaskError):
    """The result backend, or the table of periodic tasks, can't be reached or has failed; trying later may help."""


class ResultTooLarge(BackendError):
    """A result is larger than ``result_max_size``; trying again does not help."""


class NoResultBackend(AmqtaskError):
    """A result is asked for, but the app has no ``result_backend``."""


class ResultTimeout(AmqtaskError, TimeoutError):
    """No result came in time; the task may still run."""


class ResultGone(AmqtaskError, LookupError):
    """The result has expired, or no task with this id was ever sent."""


class ChordError(AmqtaskError):
    """A member of a chord failed, so that its body did not run; or the chord ran out of time."""


class RemoteError(AmqtaskError):
    """An exception that a task raised elsewhere and whose class does not exist here.

    Each unknown class gets a subclass of its own name, so that ``except RemoteError`` and messages both work.

    Attributes:
        type_path: ``module.Name`` of the real class.
    """

    type_path = ""


class WorkerLost(AmqtaskError):
    """The process that ran the task died, more often than ``worker_lost_max_deliveries`` allows."""


class TaskRevoked(AmqtaskError):
    """The task did not run: it was revoked, or had expired."""


class TimeLimitExceeded(AmqtaskError):
    """The task ran longer than its hard time limit and was stopped."""


class SoftTimeLimitExceeded(AmqtaskError):
    """Raised inside a task that has run longer than its soft time limit; it may clean up and end."""

    def __init__(self, message: str = "the soft time limit has passed") -> None:
        super().__init__(message)


class TaskControl(AmqtaskError):
    """Raised inside a task to say what becomes of its message."""


class Retry(TaskControl):
    """Run the task again later; usually raised by ``self.retry()``.

    Attributes:
        exc: the error that caused it, if any.
        countdown: seconds from now, or None to follow the retry policy.
        eta: absolute time instead of ``countdown``.
        args, kwargs: new arguments, or None to keep those of this attempt.
        max_retries: limit for this task from now on, or None for the policy's.
        options: of the next attempt, as of ``apply_async``; those that are not named stay.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | None = None,
        countdown: float | None = None,
        *,
        eta: datetime | None = None,
        args: Sequence[object] | None = None,
        kwargs: dict[str, object] | None = None,
        max_retries: int | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.exc, self.countdown, self.eta = exc, countdown, eta
        self.args_, self.kwargs_, self.max_retries = args, kwargs, max_retries
        self.options = options or {}
        super().__init__(message or (f"retry: {exc!r}" if exc is not None else "retry"))

    @property
    def when(self) -> float | datetime | None:
        """``eta``, or else ``countdown``; Celery's name."""
        return self.eta or self.countdown


class Reject(TaskControl):
    """Dead-letter this message (default), or put it back into its queue.

    Attributes:
        reason: text kept with the dead letter.
        requeue: True puts the message back at once; it will be delivered again.
    """

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        self.reason, self.requeue = reason, requeue
        super().__init__("rejected" if reason is None else str(reason))


class Ignore(TaskControl):
    """The message is done with: acknowledge it and keep nothing."""


class Replaced(Ignore):
    """Raised by ``self.replace()``: other work takes the task's place.

    Attributes:
        signature: of that work; it has been sent, but in eager mode.
    """

    def __init__(self, signature: object) -> None:
        self.signature = signature
        super().__init__("replaced")


class MaxRetriesExceeded(AmqtaskError):
    """The last permitted attempt asked for another one and gave no exception of its own."""
