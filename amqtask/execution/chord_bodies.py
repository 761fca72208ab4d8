"""The end of a chord: its body with all results, or the failure of the body. Owns that decision, for every counter.

Whoever has counted the members (Redis, RabbitMQ, a retrying task of Celery's) asks here what to send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.canvas.after import chord_body, chord_context, chord_failed
from amqtask.canvas.skipping import skips
from amqtask.errors import ChordError, DecodeError
from amqtask.execution.documents import Asked, Documents, Ignoring
from amqtask.execution.errbacks import errbacks_of
from amqtask.execution.sendings import Sendings
from amqtask.results.base import Part
from amqtask.results.failures import to_document, to_exception
from amqtask.results.states import FAILURE, SUCCESS
from amqtask.wire.codec import serializers
from amqtask.wire.message import TaskMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.canvas.shapes import Shape
    from amqtask.execution.job import After
    from amqtask.execution.sendings import FollowupApp
    from amqtask.results.base import Record


class ChordBodies:
    """Makes what follows from a chord. Thread-safe; decodes results, so not for the I/O thread.

    Asked twice for one chord it answers with the same ids.

    Args:
        app: its settings, backend and canvas.
        hostname: node name of the worker.
    """

    def __init__(self, app: FollowupApp, hostname: str) -> None:
        self._sendings, self._tasks = Sendings(app), app.tasks
        self._documents = Documents(app.settings, app.results_backend, hostname)
        self._celery = app.settings.interop == "celery"
        self._ignored = Ignoring(app.tasks, app.settings.task_ignore_result)
        self._serializer = serializers.get(app.settings.result_serializer)

    def of(self, chord: Shape, group_id: str, results: Sequence[bytes]) -> After:
        """All members have ended.

        Args:
            chord: the body's signature, as the members carry it.
            group_id: of the header.
            results: of the members, encoded, in the order of the header.
        """
        try:
            found = [self._read(result) for result in results]
        except DecodeError as error:
            return self.failed(chord, group_id, ChordError(str(error)))
        for task_id, state, value in found:
            if state != SUCCESS:
                return self.failed(chord, group_id, ChordError(f"Dependency {task_id} raised {to_exception(value)!r}"))
        context = chord_context(chord, group_id, self._sendings.context(), found[-1][0] if found else None)
        plan = chord_body(chord, [value for _, _, value in found], context)
        return self._sendings.after([plan])

    def failed(self, chord: Shape, group_id: str, error: ChordError) -> After:
        """The body can never run.

        Args:
            chord: the body's signature.
            group_id: of the header.
            error: why.
        """
        context = chord_context(chord, group_id, self._sendings.context())
        followup = chord_failed(chord, context, errbacks_of(self._tasks))
        document = to_document(error, celery=self._celery)
        records: list[Record] = []
        parts: list[Part] = []
        for one in followup.failed:
            message = TaskMessage(one.name, one.task_id)
            asked = Asked(message, one.reply_to, one.task_id, "", self._ignored(one.name, one.ignored))
            if self._documents.wanted(asked, FAILURE):
                records.append(self._documents.failure(asked, FAILURE, document))
            if one.member is not None:
                body, outer_id, index = one.member
                result = self._documents.part(one.task_id, FAILURE, document)
                parts.append(Part(body, outer_id, index, one.task_id, FAILURE, result))
        called = self._sendings.errbacks(followup.calls, str(chord.get("task")), document, None)
        plans = [*followup.plans, *skips(followup.skipped, document, None, self._documents.heard)]
        after = self._sendings.after(plans, failed=str(chord.get("task")))
        return after._replace(messages=(*after.messages, *called), records=tuple(records), parts=tuple(parts))

    def unsendable(self, part: Part, error: Exception) -> Part:
        """The end of a member whose result can't be sent: its failure, whatever it has returned.

        Args:
            part: with the result.
            error: why.
        """
        document = to_document(error, celery=self._celery)
        return part._replace(state=FAILURE, result=self._documents.part(part.task_id, FAILURE, document))

    def _read(self, result: bytes) -> tuple[str, str, Any]:
        try:
            found = self._serializer.loads(result)
            _, task_id, state, value = found
        except (ValueError, TypeError) as error:
            raise DecodeError(f"the result of a member can't be read: {error}") from None
        return str(task_id), str(state), value
