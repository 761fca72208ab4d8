"""What follows from a job that never reached its task, or whose process died: for the worker that has to settle it.

Owns reading such a message as far as it can be read. No code of users is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.errors import AmqtaskError, DecodeError
from amqtask.execution.followups import Followups
from amqtask.execution.job import After, Kind
from amqtask.results.states import DEAD, FAILURE, REVOKED
from amqtask.wire.accept import without_pickle
from amqtask.wire.codec import decode
from amqtask.wire.message import TaskMessage
from amqtask.wire.signing import Signer

if TYPE_CHECKING:
    from amqtask.execution.job import Error, Job
    from amqtask.execution.sendings import FollowupApp

_OURS = "amqtask.errors."
_ENDS = {
    Kind.FAILED: (FAILURE, _OURS + "WorkerLost"),
    Kind.REJECTED: (FAILURE, _OURS + "Reject"),
    Kind.EXPIRED: (REVOKED, _OURS + "TaskRevoked"),
    Kind.UNKNOWN_TASK: (DEAD, _OURS + "UnknownTask"),
    Kind.UNDECODABLE: (DEAD, _OURS + "DecodeError"),
    Kind.REFUSED: (DEAD, _OURS + "ContentRefused"),
    Kind.TIMED_OUT: (FAILURE, _OURS + "TimeLimitExceeded"),
    Kind.REVOKED: (REVOKED, _OURS + "TaskRevoked"),
}
"""State, and the exception that stands for it when there was none. Celery's clients know FAILURE only, not DEAD."""


class Lost:
    """Implements :class:`amqtask.worker.followups.losses.Followups`. Thread-safe; not for the I/O thread: it decodes.

    Args:
        app: its settings, tasks, backend and canvas.
        hostname: node name of the worker.
    """

    def __init__(self, app: FollowupApp, hostname: str) -> None:
        self._followups = Followups(app, hostname)
        self._accept = without_pickle(app.settings.accept_content)
        self._signer = Signer(app.settings)
        self._celery = app.settings.interop == "celery"
        self._unpacked_max = app.settings.broker_max_message_size

    def lost(self, job: Job, kind: Kind, text: str, error: Error | None) -> After:
        """What follows from a job that ended like this without an executor; nothing when it can't be read."""
        state, path = _ENDS.get(kind, _ENDS[Kind.FAILED])
        if error is not None:
            path, text = error[0], error[1]
        if state == DEAD and self._celery:
            state = FAILURE
        message = self._read(job)
        if message is None:
            return After()
        after = self._followups.lost(job, message, state, path, text) or After()
        if self._forged(job):  # nobody gets our signature by naming the task and the queue of somebody else
            after = after._replace(records=tuple(record._replace(signature=None) for record in after.records))
        return after

    def _read(self, job: Job) -> TaskMessage | None:
        try:
            if self._signer.checks:  # else a forged callback would go on under our signature
                self._signer.verify(job, job.body)
            return decode(job, job.body, self._accept, self._unpacked_max)
        except AmqtaskError:
            return _by_headers(job)

    def _forged(self, job: Job) -> bool:
        try:
            self._signer.verify(job, job.body, any_age=True)
        except DecodeError:
            return True
        return False


def _by_headers(job: Job) -> TaskMessage | None:
    """Of a message whose body can't be read; its callbacks are in there, and so not known."""
    name: Any = job.headers.get("task")
    task_id: Any = job.headers.get("id")
    if not isinstance(task_id, str) or not task_id:
        return None
    return TaskMessage(name if isinstance(name, str) else "", task_id)
