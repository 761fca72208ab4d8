"""Result documents of attempts, as records for a backend. Owns which states are stored, and with what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import EncodeError, ResultTooLarge
from amqtask.results.base import Record
from amqtask.results.failures import to_document
from amqtask.results.meta import Meta, dump
from amqtask.results.states import EXCEPTION_STATES, FAILURE, READY_STATES, SUCCESS
from amqtask.wire.codec import serializers
from amqtask.wire.compression import known_compression
from amqtask.wire.message import Properties, TaskMessage
from amqtask.wire.signing import ANSWER, Signer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.base import Backend
    from amqtask.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for the result of a message, and where it was run.

    Attributes:
        message: of the task.
        reply_to: queue of the caller.
        correlation_id: for the answer.
        queue: that delivered it.
        ignored: nobody asks for it.
    """

    message: TaskMessage
    reply_to: str | None
    correlation_id: str | None
    queue: str
    ignored: bool

    def of_another(self, task_id: str, name: str, reply_to: str | None, ignored: bool) -> Asked:
        """The same for a task that will never run because of this one."""
        mine = self.message
        message = TaskMessage(name, task_id, parent_id=mine.id, root_id=mine.root_id or mine.id)
        return Asked(message, reply_to, task_id, self.queue, ignored)


class Ignoring:
    """Tells whose results nobody asks for: what the call says counts, else its task, else the setting.

    Args:
        tasks: of the app.
        usual: the setting ``task_ignore_result``.
    """

    def __init__(self, tasks: Mapping[str, Task[..., Any]], usual: bool) -> None:
        self._tasks, self._usual = tasks, usual

    def __call__(self, name: str, said: bool | None) -> bool:
        """Whether a task of this name is ignored, of whose call this is said."""
        if said is None and (task := self._tasks.get(name)) is not None:
            said = task.options.ignore_result
        return self._usual if said is None else said


class Documents:
    """Makes records. Thread-safe.

    Args:
        settings: of the app.
        backend: where they will go; None keeps nothing.
        hostname: node name of the worker.
    """

    def __init__(self, settings: Settings, backend: Backend | None, hostname: str) -> None:
        self._backend, self.hostname = backend, hostname
        self._errors_too = settings.task_store_errors_even_if_ignored
        self._extended, self._celery = settings.result_extended, settings.interop == "celery"
        self._limit, self._largest_message = settings.result_max_size, settings.broker_max_message_size
        self._serializer = serializers.get(settings.result_serializer)
        named = settings.result_compression
        by_message = backend is not None and backend.by_message
        self._compression = None if named is None or backend is None or by_message else known_compression(named)
        self._signer = Signer(settings) if by_message else None

    def heard(self, reply_to: str | None) -> bool:
        """Whether results for a caller with this queue go anywhere."""
        return self._backend is not None and (not self._backend.by_message or bool(reply_to))

    @property
    def kept(self) -> bool:
        """Whether there is a backend at all."""
        return self._backend is not None

    def wanted(self, asked: Asked, state: str) -> bool:
        """Whether this state of a task is to be stored."""
        if not self.heard(asked.reply_to):
            return False
        return not asked.ignored or (self._errors_too and state in EXCEPTION_STATES)

    def record(
        self,
        asked: Asked,
        state: str,
        result: Any,
        *,
        traceback: str | None = None,
        runtime: float | None = None,
        children: Sequence[Any] = (),
    ) -> Record:
        """The record of a state.

        Args:
            asked: what is known of the task.
            state: to store.
            result: what it returned; of a failure its document (:mod:`amqtask.results.failures`).
            traceback: of its exception.
            runtime: seconds inside the task function.
            children: result tuples of what it has sent.

        Raises:
            EncodeError: the serializer can't write the result.
            ResultTooLarge: more than ``result_max_size`` bytes, or than a message that it travels in may have.
        """
        message, final = asked.message, state in READY_STATES
        meta = Meta(
            message.id,
            state,
            result,
            traceback,
            list(children),
            clock.utcnow().isoformat() if final else None,
            message.group,
            message.parent_id,
            extra=dict(message.stamps),
        )
        if self._extended:
            meta.name, meta.worker, meta.queue = message.task, self.hostname, asked.queue
            meta.retries, meta.runtime = message.retries, runtime
        document, content_type, encoding = dump(meta, self._serializer, self._compression, limit=self._limit)
        reply_to, correlation_id = asked.reply_to, asked.correlation_id or message.id
        signature = None
        if self._signer is not None:
            self.check_message(document, message.id)
            properties = Properties(content_type, encoding)
            # not the correlation id: a task's signature does not cover it, so others may have put another one there
            signature = self._signer.signature(properties, document, ANSWER, message.id)
        return Record(message.id, state, document, content_type, encoding, reply_to, correlation_id, final, signature)

    def failure(
        self,
        asked: Asked,
        state: str,
        document: dict[str, Any],
        *,
        traceback: str | None = None,
        runtime: float | None = None,
        children: Sequence[Any] = (),
    ) -> Record:
        """Like :meth:`record`, of an exception's document; what makes it too large is left out."""
        try:
            return self.record(asked, state, document, traceback=traceback, runtime=runtime, children=children)
        except (EncodeError, ResultTooLarge):
            plain = {"exc_type": document["exc_type"], "exc_message": [], "exc_module": document["exc_module"]}
            return self.record(asked, state, plain, runtime=runtime)

    def instead(self, record: Record, error: Exception) -> Record:
        """The failure to store instead of a result that can't be; any other record as it is."""
        if record.state != SUCCESS:
            return record
        asked = Asked(TaskMessage("", record.task_id), record.reply_to, record.correlation_id, "", ignored=False)
        return self.failure(asked, FAILURE, to_document(error, celery=self._celery))

    def check_message(self, encoded: bytes, task_id: str) -> None:
        """Refuse a result that fits no message.

        Raises:
            ResultTooLarge: more than ``broker_max_message_size`` bytes.
        """
        if len(encoded) > self._largest_message:
            raise ResultTooLarge(
                f"the result of task {task_id} has {len(encoded)} bytes; broker_max_message_size is "
                f"{self._largest_message}"
            )

    def part(self, task_id: str, state: str, result: Any) -> bytes:
        """The end of a chord's member, as Celery keeps it in Redis: ``[1, id, state, result]``."""
        return self._serializer.dumps([1, task_id, state, result])
