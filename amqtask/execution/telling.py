"""What is told of a task where it runs: Celery's signals of tasks. Owns when each is sent, and with what."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from amqtask import signals
from amqtask.errors import Retry
from amqtask.execution.job import Kind
from amqtask.tasks.context import running
from amqtask.tasks.exception_info import ExceptionInfo

if TYPE_CHECKING:
    from types import TracebackType

    from amqtask.execution.job import Outcome
    from amqtask.tasks.context import Context
    from amqtask.tasks.task import Task


class Kept(Protocol):
    """See :class:`amqtask.execution.executor.Kept`."""

    @property
    def result(self) -> Any: ...  # noqa: D102
    @property
    def raised(self) -> BaseException | None: ...  # noqa: D102
    @property
    def error(self) -> BaseException | None: ...  # noqa: D102
    @property
    def trace(self) -> TracebackType | None: ...  # noqa: D102


logger = logging.getLogger(__name__)

_prerun, _postrun = signals.task_prerun, signals.task_postrun
_success, _failure, _retry = signals.task_success, signals.task_failure, signals.task_retry

_STATES = {Kind.SUCCESS: "SUCCESS", Kind.IGNORED: "IGNORED", Kind.RETRY: "RETRY", Kind.REQUEUE: "REJECTED"}
"""All others are failures."""


def listened() -> bool:
    """Is anybody connected to a signal that is sent here?"""
    # one by one, for this is asked per task
    return bool(_prerun.receivers or _postrun.receivers or _success.receivers or _failure.receivers or _retry.receivers)


def begins(task: Task[..., Any], context: Context) -> None:
    """The function is about to be called."""
    args, kwargs = list(context.args), dict(context.kwargs)
    with running(context):
        signals.task_prerun.send(task, task_id=context.id, task=task, args=args, kwargs=kwargs)


def ends(task: Task[..., Any], context: Context, outcome: Outcome, kept: Kept) -> None:
    """It has returned or raised, and this is what follows. Raises nothing.

    Args:
        task: that was run.
        context: of the attempt.
        outcome: of it.
        kept: what it returned or raised.
    """
    args, kwargs = list(context.args), dict(context.kwargs)
    state = _STATES.get(Kind(outcome.kind), "FAILURE")
    error, info = kept.error, None
    if error is not None:
        info = ExceptionInfo(type(error), error, kept.trace)
    asked = _asked(outcome, kept) if state == "RETRY" else None
    try:
        with running(context):
            if state == "SUCCESS":
                signals.task_success.send(task, result=kept.result, runtime=outcome.runtime)
            elif state == "RETRY":
                signals.task_retry.send(task, request=context, reason=asked, einfo=info)
            elif state == "FAILURE":
                signals.task_failure.send(
                    task,
                    task_id=context.id,
                    exception=error,
                    args=args,
                    kwargs=kwargs,
                    traceback=kept.trace,
                    einfo=info,
                )
            retval = kept.result if state == "SUCCESS" else asked if state == "RETRY" else error
            signals.task_postrun.send(
                task, task_id=context.id, task=task, args=args, kwargs=kwargs, retval=retval, state=state
            )
    except BaseException:
        logger.exception("telling of the end of %s[%s] failed", task.name, context.id)


def _asked(outcome: Outcome, kept: Kept) -> Retry:
    """The ``Retry`` that ended an attempt; one made up for the exception that was retried without being asked to."""
    if isinstance(kept.raised, Retry):
        asked = kept.raised
        asked.countdown = outcome.delay if asked.countdown is None and asked.eta is None else asked.countdown
        return asked
    exc = kept.error if isinstance(kept.error, Exception) else None
    return Retry(None, exc, outcome.delay)


def internal_error(task: Task[..., Any], context: Context, error: BaseException) -> None:
    """What a task raised could not be dealt with. Raises nothing."""
    if not signals.task_internal_error.receivers:
        return
    info = ExceptionInfo(type(error), error, error.__traceback__)
    try:
        signals.task_internal_error.send(
            task,
            task_id=context.id,
            args=list(context.args),
            kwargs=dict(context.kwargs),
            request=context,
            exception=error,
            traceback=error.__traceback__,
            einfo=info,
        )
    except BaseException:
        logger.exception("telling of an error in %s[%s] failed", task.name, context.id)
