"""The dead letters of a test, with their errors: the fixture ``dead``. Owns reading them for a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.errors import TopologyError
from amqtask.plugins import did_you_mean
from amqtask.testing.published import describe_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.app.app import Amqtask
    from amqtask.app.dead import DeadMessage


@dataclass(frozen=True, slots=True)
class DeadTask:
    """A dead letter.

    Attributes:
        task, id: name and id, None where the message has none.
        args, kwargs: the call; empty for a message that can't be read.
        queue: the queue it failed in.
        reason: one word, for example ``failed``, ``rejected`` or ``expired``.
        error: exception and its message on one line, or the reason in words.
        traceback: of the exception, or None.
        attempts: how often it was tried.
        message: everything the headers tell.
    """

    task: str | None
    id: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    queue: str
    reason: str | None
    error: str
    traceback: str | None
    attempts: int | None
    message: DeadMessage

    def __str__(self) -> str:
        call = describe_call(self.task, self.args, self.kwargs)
        return f"{call} in {self.queue}, {self.reason} after {self.attempts or 1} attempts: {self.error}"


class Dead:
    """Reads dead letters, which stay where they are; a task fails first, so call ``drain()`` before.

    Args:
        app: of the test.
    """

    def __init__(self, app: Amqtask) -> None:
        self._app = app

    def __call__(self, queue: str | None = None) -> list[DeadTask]:
        """The dead letters of a queue, oldest first; without one, of all declared queues.

        Raises:
            TopologyError: no queue of this name is declared.
        """
        queues = self._app.topology.queues
        if queue is not None and queue not in queues:
            hint = did_you_mean(queue, queues) or f"; there are {', '.join(queues)}"
            raise TopologyError(f"unknown queue {queue!r}{hint}")
        found = []
        with Admin(self._app.broker_urls, self._app.connection_options) as admin:
            for name in queues if queue is None else (queue,):
                found += [self._read(name, message) for message in DeadLetters(admin, name).read()]
        return found

    def _read(self, queue: str, message: DeadMessage) -> DeadTask:
        settings = self._app.settings
        call = message.call(settings.accept_content, settings.broker_max_message_size)
        args, kwargs = ((), {}) if isinstance(call, str) else call
        return DeadTask(
            message.task,
            message.id,
            args,
            kwargs,
            queue,
            message.reason,
            message.error,
            message.traceback,
            message.attempts,
            message,
        )
