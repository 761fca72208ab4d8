"""Runs one job: decode -> resolve the task -> check expiry -> call -> classify. Owns the steps, and no thread.

Whatever a message or a task does, the answer is an :class:`~amqtask.execution.job.Outcome`: nothing is raised, not
even for ``SystemExit`` in user code. Effects of the outcome (retry, dead letter, ack) are the caller's: a worker's, or
in eager mode the app's.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from amqtask import clock
from amqtask.errors import AmqtaskError, ContentRefused, EncodeError, Ignore, Reject, Retry, TaskRevoked
from amqtask.execution import telling
from amqtask.execution.chain_more import Skipped
from amqtask.execution.followups import Followups
from amqtask.execution.job import After, Kind, Outcome
from amqtask.execution.next_attempt import needs_body, next_body, next_headers, next_key, signed_again
from amqtask.execution.requests import request_of
from amqtask.execution.sendings import FollowupApp, joined
from amqtask.execution.thread_loops import ThreadLoops
from amqtask.execution.window import no_window
from amqtask.results.states import FAILURE, RETRY, REVOKED
from amqtask.results.trimming import clip, describe, message
from amqtask.tasks.context import Context, running
from amqtask.tasks.retry import Decision, Verdict, next_delay
from amqtask.wire.codec import decode, serializers
from amqtask.wire.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from amqtask.execution.job import Job
    from amqtask.execution.window import Window
    from amqtask.results.base import Record
    from amqtask.tasks.middleware import Middlewares
    from amqtask.tasks.task import Task
    from amqtask.topology.declarations import RetryPolicy
    from amqtask.topology.model import Topology
    from amqtask.wire.message import TaskMessage

logger = logging.getLogger(__name__)

_RESULT_LIMIT = 512
"""Bytes of a result's repr in the log."""

_PUNCTUAL = 0.05
"""Seconds that a task may start before its eta, for clocks differ. Messages of ours have waited in the broker when
they come, so this is for those of Celery's clients and retries of its workers, which come at once."""


@dataclass(slots=True)
class Attempt:
    """One attempt of a task that is ready to be called."""

    job: Job
    message: TaskMessage
    task: Task[..., Any]
    context: Context


class Tasks(FollowupApp, Protocol):
    """What is asked of an app here."""

    @property
    def topology(self) -> Topology: ...  # noqa: D102
    @property
    def middleware(self) -> Middlewares: ...  # noqa: D102


@dataclass(slots=True)
class Kept:
    """What one attempt returned or raised, for callers in the same process; a worker only needs the outcome.

    Attributes:
        result: what the task returned, when it did.
        raised: what it raised, when it did; or why its message can't be read.
        error: what is reported of it: the cause, not the ``Retry`` around it.
        trace: traceback of ``error``; the executor takes it off what was raised.
    """

    result: Any = None
    raised: BaseException | None = None
    error: BaseException | None = None
    trace: TracebackType | None = None

    def keep(self, raised: BaseException, error: BaseException) -> None:
        """Fill in an exception."""
        self.raised, self.error = raised, error
        self.trace = error.__traceback__ or raised.__traceback__


class Executor:
    """Runs jobs. Thread-safe; one per process is enough.

    Args:
        app: with its tasks imported.
        hostname: the worker's node name, for ``self.request.hostname``.
        log_results: put the repr of results into outcomes.
        eager: what ``self.request.is_eager`` says; results are not stored then.
        report: stores the state of a running task, see :class:`~amqtask.worker.pools.base.PoolHost`.
        window: of each job; entered around its task. What is raised inside of it from outside (a soft time limit) is
            judged as if the task had raised it.
    """

    def __init__(
        self,
        app: Tasks,
        hostname: str,
        log_results: bool = False,
        *,
        eager: bool = False,
        report: Callable[[Sequence[Record]], None] | None = None,
        window: Callable[[Job], Window] = no_window,
    ) -> None:
        self._window = window
        self._app, self._hostname, self._log_results, self._eager = app, hostname, log_results, eager
        self._accept = app.settings.accept_content
        self._tasks = app.tasks
        self._followups = None if eager else Followups(app, hostname)
        self._report = report
        self._middleware = app.middleware
        self._signer = Signer(app.settings)
        self._unpacked_max = app.settings.broker_max_message_size
        self._loops = ThreadLoops()
        for name in self._accept:  # before a fork: looking them up reads the metadata of all packages
            serializers.get(name)

    def is_async(self, job: Job) -> bool:
        """Whether the job is for an ``async def`` task; False for anything that can't be run."""
        name = job.headers.get("task")
        task = self._tasks.get(name) if isinstance(name, str) else None
        return task is not None and task.is_async

    def run(self, job: Job, kept: Kept | None = None) -> Outcome:
        """Run a job on this thread; a coroutine on an event loop that the thread keeps for that.

        Args:
            job: to run.
            kept: filled with what the task returned or raised, when given.
        """
        attempt = self._open(job, kept)
        if isinstance(attempt, Outcome):
            return attempt
        if told := telling.listened():
            kept = kept or Kept()
        args, kwargs, call = attempt.message.args, attempt.message.kwargs, self._call(attempt)
        window, started = self._window(job), perf_counter()
        try:
            if told:
                telling.begins(attempt.task, attempt.context)
            with running(attempt.context), window:
                if attempt.task.is_async:
                    result = self._loops.run(window.awaiting(call(*args, **kwargs)))
                else:
                    result = call(*args, **kwargs)
        except BaseException as error:
            outcome = self._classify(attempt, error, perf_counter() - started, kept)
        else:
            outcome = self._succeed(attempt, result, perf_counter() - started, kept)
        if told and kept is not None:
            telling.ends(attempt.task, attempt.context, outcome, kept)
        return outcome

    async def arun(self, job: Job, kept: Kept | None = None) -> Outcome:
        """Run a job of an ``async def`` task on the running loop; cancelling it fails the task."""
        attempt = self._open(job, kept)
        if isinstance(attempt, Outcome):
            return attempt
        if told := telling.listened():
            kept = kept or Kept()
        call, window, started = self._call(attempt), self._window(job), perf_counter()
        try:
            if told:
                telling.begins(attempt.task, attempt.context)
            with running(attempt.context), window:
                result = await window.awaiting(call(*attempt.message.args, **attempt.message.kwargs))
        except BaseException as error:
            outcome = self._classify(attempt, error, perf_counter() - started, kept)
        else:
            outcome = self._succeed(attempt, result, perf_counter() - started, kept)
        if told and kept is not None:
            telling.ends(attempt.task, attempt.context, outcome, kept)
        return outcome

    def leave_thread(self) -> None:
        """Close the event loop that this thread has kept, if any; at the end of a thread that called :meth:`run`."""
        self._loops.leave()

    # ---- steps

    def _call(self, attempt: Attempt) -> Callable[..., Any]:
        """The task's function, inside of the app's middleware."""
        middleware, task = self._middleware, attempt.task
        if not middleware:
            return task.run
        return (middleware.aaround if task.is_async else middleware.around)(task.run, attempt.context)

    def _open(self, job: Job, kept: Kept | None) -> Attempt | Outcome:
        """Decode, resolve and check; an outcome when there is nothing to call."""
        try:
            if self._signer.checks:
                self._signer.verify(job, job.body)
            message = decode(job, job.body, self._accept, self._unpacked_max)
        except BaseException as error:
            if kept is not None:
                kept.keep(error, error)
            if isinstance(error, ContentRefused):
                return Outcome(job.key, Kind.REFUSED, text=str(error), error=describe(error))
            return Outcome(job.key, Kind.UNDECODABLE, text=_short(error), error=describe(error))
        task = self._tasks.get(message.task)
        if task is None:
            return Outcome(job.key, Kind.UNKNOWN_TASK, text=clip(f"no task is named {message.task!r}", 512))
        if message.expires is not None and message.expires <= clock.utcnow():
            text = f"expired at {message.expires.isoformat()}"
            after = self._failed(job, message, TaskRevoked("expired"), state=REVOKED)
            return Outcome(job.key, Kind.EXPIRED, text=text, after=after or After())  # nobody needs to tell it again
        left = 0.0 if message.eta is None or self._eager else (message.eta - clock.utcnow()).total_seconds()
        if message.eta is not None and left > _PUNCTUAL:
            return Outcome(job.key, Kind.EARLY, text=f"due at {message.eta.isoformat()}", delay=left)
        if self._report is not None and self._followups is not None:
            record = self._followups.started(job, message)
            if record is not None:
                self._report([record])
        report = None if self._report is None else partial(self._report_state, job, message)
        kind = task.request_type
        request = request_of(kind, job, message, self._hostname, is_eager=self._eager, report=report)
        return Attempt(job, message, task, request)

    def _report_state(self, job: Job, message: TaskMessage, state: str, meta: Any) -> None:
        assert self._report is not None
        record = None if self._followups is None else self._followups.state(job, message, state, meta)
        if record is not None:
            self._report([record])

    def _succeed(self, attempt: Attempt, result: Any, runtime: float, kept: Kept | None) -> Outcome:
        if kept is not None:
            kept.result = result
        job, after = attempt.job, None
        if self._followups is not None:
            try:
                after = self._followups.success(job, attempt.message, result, runtime, attempt.context.children)
            except BaseException as error:  # the result is user code's, and so are its methods
                if kept is not None:
                    kept.keep(error, error)
                failed = self._failed(job, attempt.message, error, runtime=runtime)
                return Outcome(job.key, Kind.FAILED, runtime, _short(error), describe(error), after=failed)
        return Outcome(job.key, Kind.SUCCESS, runtime, _repr(result) if self._log_results else "", after=after)

    def _failed(
        self,
        job: Job,
        message: TaskMessage,
        error: BaseException,
        *,
        runtime: float | None = None,
        state: str = FAILURE,
        children: Sequence[Any] = (),
        traceback: str | None = None,
    ) -> After | None:
        if self._followups is None:
            return None
        more: dict[str, Any] = {"state": state, "runtime": runtime, "traceback": traceback, "children": children}
        try:
            return self._followups.failure(job, message, error, **more)
        except Exception:
            logger.exception("Task %s[%s]: what follows from its failure can't be told", message.task, message.id)
            return self._followups.failure(job, replace(message, embed={}), error, **more)  # to its caller, at least

    def _classify(self, attempt: Attempt, error: BaseException, runtime: float, kept: Kept | None) -> Outcome:
        """What an exception means; never raises, and lets go of the exception's frames."""
        if kept is not None:
            kept.keep(error, error)
        try:
            return self._judge(attempt, error, runtime, kept)
        except BaseException as problem:
            telling.internal_error(attempt.task, attempt.context, problem)
            return Outcome(attempt.job.key, Kind.FAILED, runtime, _short(problem), describe(error))
        finally:
            BaseException.with_traceback(error, None)

    def _judge(self, attempt: Attempt, error: BaseException, runtime: float, kept: Kept | None) -> Outcome:
        key = attempt.job.key
        if isinstance(error, Ignore):
            after = None
            if isinstance(error, Skipped) and self._followups is not None:
                after = self._followups.skipped(attempt.job, attempt.message, error.error, error.traceback)
            elif self._followups is not None:
                after = self._followups.ignored(attempt.job, attempt.message, error)
            return Outcome(key, Kind.IGNORED, runtime, _short(error), after=after)
        if isinstance(error, Reject):
            if error.requeue:
                return Outcome(key, Kind.REQUEUE, runtime, _short(error), describe(error))
            return self._end(attempt, Kind.REJECTED, error, runtime, _short(error))
        decision = next_delay(
            attempt.task,
            self._retry_policy(attempt.job.queue),
            attempt.message.retries,
            error,
            exhausted=attempt.context.exhausted,
        )
        if kept is not None:
            kept.keep(error, decision.error)
        text = f"failed after {decision.limit} retries" if decision.verdict is Verdict.EXHAUSTED else "failed"
        if decision.verdict is Verdict.RETRY:
            if not self._signer.lacks_key:
                return self._retry(attempt, error, decision, runtime)
            text = "failed; not retried, as the next attempt would be refused: there is no message_signing_key here"
        return self._end(attempt, Kind.FAILED, decision.error, runtime, text)

    def _end(self, attempt: Attempt, kind: Kind, error: BaseException, runtime: float, text: str) -> Outcome:
        """The outcome of a task that has failed for good."""
        described = describe(error)
        after = self._failed(
            attempt.job,
            attempt.message,
            error,
            runtime=runtime,
            children=attempt.context.children,
            traceback=described[2],
        )
        return Outcome(attempt.job.key, kind, runtime, text, described, after=after)

    def _retry(self, attempt: Attempt, error: BaseException, decision: Decision, runtime: float) -> Outcome:
        if isinstance(error, Retry) and error.options and self._followups is not None:
            return self._retry_otherwise(attempt, error, decision, runtime, self._followups)
        body = None
        if needs_body(attempt.job, error):
            try:
                body = next_body(attempt.job, attempt.message, error, self._accept, self._unpacked_max)
            except (EncodeError, AmqtaskError) as problem:
                return self._end(attempt, Kind.FAILED, problem, runtime, _short(problem))
        headers = next_headers(attempt.message, decision.delay, attempt.job.headers)
        if self._middleware:
            headers = {**self._middleware.before_retry(attempt.context), **headers}
        if body is not None:
            headers |= next_key(attempt.task.options.max_concurrency, attempt.message, error)
        headers = signed_again(self._signer, attempt.job, headers, body)
        described = describe(decision.error)
        return Outcome(
            attempt.job.key,
            Kind.RETRY,
            runtime,
            _short(decision.error),
            described,
            decision.delay,
            headers,
            body,
            decision.exact,
            self._failed(attempt.job, attempt.message, decision.error, state=RETRY, traceback=described[2]),
        )

    def _retry_otherwise(
        self, attempt: Attempt, error: Retry, decision: Decision, runtime: float, followups: Followups
    ) -> Outcome:
        """A retry with options of its own, such as another queue: a new message, which follows from this attempt."""
        job, described = attempt.job, describe(decision.error)
        try:
            more = self._middleware.before_retry(attempt.context)
            after = followups.again(job, attempt.message, error, decision.delay, self._accept, more)
        except (AmqtaskError, TypeError) as problem:
            return self._end(attempt, Kind.FAILED, problem, runtime, _short(problem))
        told = self._failed(job, attempt.message, decision.error, state=RETRY, traceback=described[2])
        after = after if told is None else joined(after, told)
        text = _short(decision.error)
        return Outcome(job.key, Kind.RETRY, runtime, text, described, decision.delay, exact=decision.exact, after=after)

    def _retry_policy(self, queue: str) -> RetryPolicy | None:
        declared = self._app.topology.queues.get(queue)
        return None if declared is None else declared.retry


def _short(error: BaseException) -> str:
    return clip(f"{type(error).__name__}: {message(error)}", 512)


def _repr(value: Any) -> str:
    try:
        return clip(str.__str__(repr(value)), _RESULT_LIMIT)
    except BaseException as problem:
        return f"<repr() of the result raised {type(problem).__name__}>"
