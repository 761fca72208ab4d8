"""What follows from an attempt beside the settlement of its message: results, callbacks, parts of chords.

Owns putting these together. What a canvas asks for is decided in :mod:`amqtask.canvas.after`, how a document looks in
:mod:`amqtask.execution.documents`; a worker carries it all out before it acks the message.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from amqtask.canvas.after import Followup, after_failure, after_success, context_of
from amqtask.canvas.plan import CHAIN_MORE, CHAIN_SKIPPED, CHORD_OPTION, Plan, result_name
from amqtask.canvas.shapes import options, shape
from amqtask.canvas.skipping import skips
from amqtask.canvas.starting import COMPOSED
from amqtask.errors import Replaced
from amqtask.execution.documents import Asked, Documents, Ignoring
from amqtask.execution.errbacks import call, errbacks_of
from amqtask.execution.job import After
from amqtask.execution.next_attempt import next_sending
from amqtask.execution.sendings import Sendings, joined
from amqtask.results.base import Part
from amqtask.results.failures import named, to_document
from amqtask.results.states import FAILURE, RETRY, STARTED, SUCCESS
from amqtask.wire.message import TaskMessage
from amqtask.wire.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from amqtask.canvas.after import Failed, Member
    from amqtask.errors import Ignore, Retry
    from amqtask.execution.job import Job
    from amqtask.execution.sendings import FollowupApp, Unsent
    from amqtask.results.base import Record

logger = logging.getLogger(__name__)

_OWN = "amqtask."
"""Start of the names of tasks that are amqtask's own: they end with ``Ignore`` when their work goes on elsewhere."""


class Followups:
    """Works out what follows. Thread-safe.

    Args:
        app: its settings, tasks, backend and canvas.
        hostname: node name of the worker.
    """

    def __init__(self, app: FollowupApp, hostname: str) -> None:
        settings = app.settings
        self._tasks = app.tasks
        self._ignored = Ignoring(app.tasks, settings.task_ignore_result)
        self._track_started = settings.task_track_started
        self._celery = settings.interop == "celery"
        self._documents = Documents(settings, app.results_backend, hostname)
        self._sendings = Sendings(app)
        self._kept = self._documents.kept
        self._lacks_key = Signer(settings).lacks_key

    def asked(self, job: Job, message: TaskMessage) -> Asked:
        """Who asks for the result of a job."""
        ignored = self._ignored(result_name(message.task, message.kwargs), message.ignore_result)
        return Asked(message, job.reply_to, job.correlation_id, job.queue, ignored)

    def started(self, job: Job, message: TaskMessage) -> Record | None:
        """The record of a task that begins, with ``task_track_started``."""
        if not self._track_started or message.task == CHAIN_MORE:  # which has the id of a step that comes much later
            return None
        return self.state(job, message, STARTED, {"pid": os.getpid(), "hostname": self._documents.hostname})

    def state(self, job: Job, message: TaskMessage, state: str, result: Any) -> Record | None:
        """The record of a state on the way, such as those of ``update_state``; None when nobody asks for it.

        Raises:
            EncodeError: the serializer can't write it.
            ResultTooLarge: it is larger than ``result_max_size``.
        """
        asked = self.asked(job, message)
        return self._documents.record(asked, state, result) if self._documents.wanted(asked, state) else None

    def success(
        self, job: Job, message: TaskMessage, value: Any, runtime: float, children: Sequence[Any] = ()
    ) -> After | None:
        """What follows from a task that returned.

        Raises:
            EncodeError: the result, or a callback with it, can't be written.
            ResultTooLarge: the result is larger than ``result_max_size``, or than the message it travels in may be.
        """
        if not self._kept and not message.embed:
            return None
        asked = self.asked(job, message)
        followup = Followup()
        if message.embed:
            followup = after_success(message, value, context_of(message, self._sendings.context(), job.reply_to))
        after, unsent = self._sendings.sendable(followup.plans, strict=self._lacks_key)
        if self._documents.wanted(asked, SUCCESS):
            all_children = [*children, *followup.children]
            record = self._documents.record(asked, SUCCESS, value, runtime=runtime, children=all_children)
            after = after._replace(records=(record,))
        if followup.member is not None:
            part = self._part(followup.member, message.id, SUCCESS, value)
            if CHORD_OPTION in options(part.chord):  # it travels in a message
                self._documents.check_message(part.result, message.id)
            after = after._replace(parts=(part,))
        for one in unsent:
            after = joined(after, self._never_sent(job, message, one))
        return after if any(after) else None

    def _never_sent(self, job: Job, message: TaskMessage, unsent: Unsent) -> After:
        """The failure of a step whose options can't be used: the task before it has run well all the same."""
        sending, error = unsent
        logger.error("Task %s[%s] can't be sent after %s: %s", sending.task, sending.id, message.task, error)
        never = TaskMessage(sending.task, sending.id, sending.args, sending.kwargs, sending.embed)
        never.root_id, never.parent_id = sending.root_id, sending.parent_id
        never.group, never.group_index = sending.group, sending.group_index
        never.ignore_result = sending.options.get("ignore_result")
        waiting = job._replace(reply_to=sending.options.get("reply_to") or job.reply_to, correlation_id=sending.id)
        kind = type(error)
        after = self.lost(waiting, never, FAILURE, f"{kind.__module__}.{kind.__qualname__}", str(error)) or After()
        return joined(After(self._sendings.dead(unsent, job.queue, self._documents.hostname)), after)

    def failure(
        self,
        job: Job,
        message: TaskMessage,
        error: BaseException,
        *,
        state: str = FAILURE,
        runtime: float | None = None,
        traceback: str | None = None,
        children: Sequence[Any] = (),
    ) -> After | None:
        """What follows from a task that failed for good, was revoked or, with ``state`` RETRY, is tried again.

        Errbacks that take the exception itself are called here.
        """
        if not self._kept and not message.embed:
            return None
        document = to_document(error, celery=self._celery)
        followup = self._after_failure(job, message, state)
        for errback in followup.calls:
            call(self._tasks[errback.signature["task"]], errback, message, error, traceback)
        return self._failed(job, message, document, state, followup, runtime, traceback, children)

    def again(
        self,
        job: Job,
        message: TaskMessage,
        error: Retry,
        delay: float,
        accept: Collection[str],
        headers: Mapping[str, Any],
    ) -> After:
        """The next attempt of a task that has asked for one with options; parameters as of ``next_sending``.

        Raises:
            EncodeError, ConfigError, ContentRefused, TypeError: it can't be sent like this.
        """
        return self._sendings.after([Plan(sendings=[next_sending(job, message, error, delay, accept, headers)])])

    def skipped(self, job: Job, message: TaskMessage, document: dict[str, Any], traceback: str | None) -> After | None:
        """What follows from ``amqtask.chain_skipped``: the steps behind it fail as the chain has failed."""
        followup = self._after_failure(job, message, FAILURE)
        return self._failed(job, message, document, FAILURE, followup, traceback=traceback)

    def ignored(self, job: Job, message: TaskMessage, error: Ignore) -> After | None:
        """What follows from a task that raised ``Ignore``: its chord need not wait for it, nor for a chain it ends.

        A task that something else takes the place of goes on there.
        """
        if (
            not message.embed
            or isinstance(error, Replaced)
            or message.task.startswith(_OWN)
            or message.task in COMPOSED
        ):
            return None
        followup = self._after_failure(job, message, FAILURE)
        parts = self._parts(message, FAILURE, to_document(error, celery=self._celery), followup)
        return After(parts=parts) if parts else None

    def lost(self, job: Job, message: TaskMessage, state: str, path: str, text: str) -> After | None:
        """What follows from a task of which only the end is known: its process died, it was unknown, and so on.

        No code of users is called here: errbacks that take the exception are called by a task of their own.

        Args:
            job: that was to be run.
            message: what could be read of it.
            state: FAILURE, REVOKED or DEAD.
            path: type of the exception that says so, ``module.Name``.
            text: what it says.
        """
        document = named(path, text, celery=self._celery)
        followup = self._after_failure(job, message, state)
        after = self._failed(job, message, document, state, followup) or After()
        called = self._sendings.errbacks(followup.calls, message.task, document, None)
        after = after._replace(messages=(*after.messages, *called))
        return after if any(after) else None

    def _after_failure(self, job: Job, message: TaskMessage, state: str) -> Followup:
        if state == RETRY or not (message.embed or message.task == CHAIN_MORE):
            return Followup()
        context = context_of(message, self._sendings.context(), job.reply_to)
        followup = after_failure(message, context, errbacks_of(self._tasks))
        if message.task == CHAIN_MORE:  # revoked, mostly: it has the id that callers of long chains know
            given = {"task_id": message.id, "reply_to": job.reply_to, "queue": job.queue}
            followup = followup._replace(skipped=(shape(CHAIN_MORE, (), message.kwargs, given),))
        return followup

    def _failed(
        self,
        job: Job,
        message: TaskMessage,
        document: dict[str, Any],
        state: str,
        followup: Followup,
        runtime: float | None = None,
        traceback: str | None = None,
        children: Sequence[Any] = (),
    ) -> After | None:
        asked = self.asked(job, message)
        plans = [*followup.plans, *skips(followup.skipped, document, traceback, self._documents.heard)]
        after = self._sendings.after(plans, failed=message.task)
        records: list[Record] = []
        if message.task != CHAIN_SKIPPED and self._documents.wanted(asked, state):  # that one has not failed itself
            all_children = [*children, *followup.children]
            records.append(
                self._documents.failure(
                    asked, state, document, traceback=traceback, runtime=runtime, children=all_children
                )
            )
        records += self._passed_on(asked, followup.failed, document, traceback)
        after = after._replace(records=tuple(records), parts=self._parts(message, state, document, followup))
        return after if any(after) else None

    def _parts(
        self, message: TaskMessage, state: str, document: dict[str, Any], followup: Followup
    ) -> tuple[Part, ...]:
        """The members that have failed: this task, and what will never run because of it."""
        members = [] if followup.member is None else [(followup.member, message.id)]
        members += [(failed.member, failed.task_id) for failed in followup.failed if failed.member is not None]
        return tuple(self._part(member, task_id, state, document) for member, task_id in members)

    def _passed_on(
        self, asked: Asked, failed: Sequence[Failed], document: dict[str, Any], traceback: str | None
    ) -> list[Record]:
        """The same failure, for what will never run because of it."""
        made = []
        for one in failed:
            ignored = self._ignored(one.name, one.ignored)
            other = asked.of_another(one.task_id, one.name, one.reply_to, ignored)
            if self._documents.wanted(other, FAILURE):
                made.append(self._documents.failure(other, FAILURE, document, traceback=traceback))
        return made

    def _part(self, member: Member, task_id: str, state: str, result: Any) -> Part:
        encoded = self._documents.part(task_id, state, result)
        chord, group_id, index = member
        return Part(chord, group_id, index, task_id, state, encoded)
