"""Sentry: what tasks raise is reported with the task it is of, and traces go on from who sends to what runs.

    sentry_sdk.init(dsn="...", integrations=[AmqtaskIntegration()])

Owns what Sentry is told, all of it by signals: each attempt runs in an isolation scope of its own, in whatever process,
thread, coroutine or greenlet. An event is an exception after which nobody tries again, sent from where it was raised.
What ends where nothing could be raised (a lost process, a hard time limit, a message that can't be read) is an event of
the worker's own process, made of its line in the log by Sentry's logging integration. An attempt that is repeated,
because its worker has died after the event, has another event.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from asyncio import CancelledError
from collections import deque
from contextlib import ExitStack
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask import signals
from amqtask.errors import ConfigError, Reject, SoftTimeLimitExceeded
from amqtask.schedules.records import HEADER
from amqtask.unpatched import thread_ident

try:
    import sentry_sdk
    from sentry_sdk.integrations import Integration
    from sentry_sdk.scope import add_global_event_processor, should_send_default_pii
    from sentry_sdk.transport import make_transport
    from sentry_sdk.utils import event_from_exception
except ImportError as missing:
    raise ConfigError(f"Sentry needs sentry-sdk ({missing}): pip install 'amqtask[sentry]'") from None

if TYPE_CHECKING:
    from types import TracebackType

    from amqtask.tasks.task import Task

logger = logging.getLogger(__name__)

_EXPECTED = (Reject, CancelledError, GeneratorExit)
"""Coroutines are cancelled at the end of a worker, and their messages go back; a failure is told by the log."""
_TASKS = "amqtask.task"
"""Logger of a worker's lines about tasks."""

_FILTERED = "[Filtered]"
"""Sentry's word for what is not sent."""

_TRACE, _BAGGAGE = "sentry-trace", "baggage"
_SURROUNDINGS = frozenset({"amqtask", "asyncio"})
"""Packages that are around the function of a task: their frames, and what they hold, are not the task's."""

_GREEN = threading.local.__module__.startswith("gevent")
"""Sentry's own thread is a greenlet then: only the thread that has made it may have anything to do with it."""

_PID = os.getpid()
_held: deque[tuple[Any, dict[str, Any]]] = deque(maxlen=100)
"""Events of other threads than that of the greenlets, until one of those looks; as many as Sentry itself keeps."""
_LOOK = 1.0

_open: ContextVar[tuple[ExitStack, Any] | None] = ContextVar("amqtask_sentry", default=None)
"""Of the running attempt: what ends with it, and that of the task that has called it in place."""


class AmqtaskIntegration(Integration):
    """For ``integrations=`` of ``sentry_sdk.init``, to be called where the app is made: before a worker forks."""

    identifier = "amqtask"

    @staticmethod
    def setup_once() -> None:
        """Called by Sentry, once in a process."""
        signals.before_task_publish.connect(_propagate)
        signals.task_prerun.connect(_begin)
        signals.task_failure.connect(_report)
        signals.task_postrun.connect(_end)
        signals.worker_process_init.connect(_start)
        signals.worker_process_shutdown.connect(_flush)
        signals.worker_shutdown.connect(_flush)
        add_global_event_processor(_of_the_worker)


def _on() -> bool:
    return sentry_sdk.get_client().get_integration(AmqtaskIntegration) is not None


def _may_show_arguments() -> bool:
    collection = sentry_sdk.get_client().options.get("data_collection") or {}
    if collection.get("provided_by_user"):  # what came after send_default_pii
        return bool(collection["queues"])
    return should_send_default_pii()


def _streams() -> bool:
    """Whether Sentry sends spans as they come, and knows no transactions."""
    options = sentry_sdk.get_client().options
    return "stream" in (options.get("trace_lifecycle"), (options.get("_experiments") or {}).get("trace_lifecycle"))


# ---- sending


def _propagate(headers: dict[str, Any], **_: Any) -> None:
    """Name the trace; unless the message has one, or is the scheduler's, whose every message begins another."""
    if not _on() or _TRACE in headers or HEADER in headers:
        return
    ours = {_TRACE: sentry_sdk.get_traceparent(), _BAGGAGE: sentry_sdk.get_baggage()}
    given = {name: value for name, value in ours.items() if value}
    if isinstance(others := headers.get(_BAGGAGE), str) and others and _BAGGAGE in given:
        given[_BAGGAGE] = f"{others},{given[_BAGGAGE]}"
    headers |= given
    inner = headers.get("headers")  # where Sentry looks for them in Celery's workers
    headers["headers"] = {**inner, **given} if isinstance(inner, dict) else given


# ---- running


def _begin(sender: Task[..., Any], **_: Any) -> None:
    if not _on():
        return
    stack, request = ExitStack(), sender.request
    scope = stack.enter_context(sentry_sdk.isolation_scope())
    _open.set((stack, _open.get()))
    shown = _may_show_arguments()
    facts = {"task": sender.name, "id": request.id, "queue": request.queue, "retries": request.retries}
    job = {name: getattr(request, name) if shown else _FILTERED for name in ("args", "kwargs")}
    scope.clear_breadcrumbs()
    scope.set_transaction_name(sender.name, source="task")
    scope.set_tag("amqtask_task_id", request.id)
    if request.queue:
        scope.set_tag("amqtask_queue", request.queue)
    scope.set_context("amqtask", {**facts, **job, "worker": request.hostname})
    transaction = sentry_sdk.continue_trace(
        {name: value for name in (_TRACE, _BAGGAGE) if isinstance(value := request.headers.get(name), str)},
        op="queue.process",
        name=sender.name,
        source="task",
        origin="auto.queue.amqtask",
    )
    transaction.set_data("messaging.system", "rabbitmq")
    transaction.set_data("messaging.message.id", request.id)
    transaction.set_data("messaging.message.retry.count", request.retries)
    transaction.set_data("messaging.destination.name", request.queue)
    if not _streams():
        stack.enter_context(sentry_sdk.start_transaction(transaction, custom_sampling_context={"amqtask": facts}))


def _report(sender: Task[..., Any], exception: BaseException, traceback: TracebackType | None, **_: Any) -> None:
    """An attempt has failed for good. Raises nothing, whatever the exception does when it is looked at."""
    try:
        if _on() and _is_unexpected(sender, exception):
            _capture(sender, exception, traceback)
    except BaseException as problem:  # without its traceback: that would be looked at too
        text = "Task %s[%s]: Sentry can't be told of its failure (%s)"
        logger.error(text, sender.name, sender.request.id, type(problem).__name__)  # noqa: TRY400


def _is_unexpected(task: Task[..., Any], exception: BaseException) -> bool:
    throws = tuple(getattr(task, "throws", ()))
    if isinstance(exception, (*_EXPECTED, *throws)):
        return False
    kind = type(exception)
    return issubclass(kind, Exception) or not kind.__module__.startswith("amqtask.")  # by which a pool ends a task


def _capture(task: Task[..., Any], exception: BaseException, traceback: TracebackType | None) -> None:
    event, hint = event_from_exception(
        (type(exception), exception, _of_the_task(traceback)),
        client_options=sentry_sdk.get_client().options,
        mechanism={"type": "amqtask", "handled": False},
    )
    if isinstance(exception, SoftTimeLimitExceeded):  # it is raised anywhere
        event["fingerprint"] = ["amqtask", "SoftTimeLimitExceeded", task.name]
    sentry_sdk.capture_event(event, hint=hint)


def _of_the_task(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None and _package(trace) in _SURROUNDINGS:
        trace = trace.tb_next
    return trace


def _package(trace: TracebackType) -> str:
    return str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]


def _end(state: str, **_: Any) -> None:
    opened = _open.get()
    if opened is None:  # Sentry was set up meanwhile
        return
    stack, outer = opened
    _open.set(outer)
    transaction = sentry_sdk.get_current_scope().transaction  # not the span: the task may have left one of its own
    if transaction is not None:
        transaction.set_status({"SUCCESS": "ok", "FAILURE": "internal_error"}.get(state, "aborted"))
    stack.close()


# ---- the worker


def _of_the_worker(event: Any, hint: dict[str, Any]) -> Any:
    """An event without the lines about other tasks: they hold results. One that is itself such a line is of its task.

    It is none if the task's process had one already.
    """
    if not _on():
        return event
    if isinstance(crumbs := event.get("breadcrumbs"), dict):
        crumbs["values"] = [one for one in crumbs["values"] if one.get("category") != _TASKS]
    record = hint.get("log_record")
    about = getattr(record, "event", None) if getattr(record, "name", None) == _TASKS else None
    if record is None or about is None:
        return event
    reason = getattr(record, "reason", about)
    if reason in ("failed", "dropped") and _was_raised(record.args):
        return None
    event["fingerprint"] = ["amqtask", reason, str(record.task)]
    event["transaction"] = str(record.task)
    tags = {"amqtask_task_id": record.task_id, "amqtask_queue": record.queue, "amqtask_reason": reason}
    event["tags"] = {**(event.get("tags") or {}), **tags}
    return event


def _was_raised(words: Any) -> bool:
    """Whether a line tells of an exception that :func:`_report` has seen: the last two words are it, and its trace."""
    return bool(words[-1]) and not str(words[-2]).startswith(("asyncio.exceptions.CancelledError", "GeneratorExit"))


def _hold(home: int, event: Any, hint: dict[str, Any]) -> Any:
    if thread_ident() == home:
        return event
    _held.append((event, hint))
    return None


def _start(**_: Any) -> None:
    """A process that runs tasks begins."""
    if not _on():
        return
    if os.getpid() != _PID:  # what was not sent before the fork is for the other process to send
        client = sentry_sdk.get_client()
        client.transport = make_transport(client.options)
    if _GREEN:
        add_global_event_processor(partial(_hold, thread_ident()))
        threading.Thread(target=_look, daemon=True, name="amqtask-sentry").start()  # a greenlet
        atexit.register(_let_go)  # after Sentry's, so it is called before


def _look() -> None:
    while True:
        time.sleep(_LOOK)
        _let_go()


def _let_go() -> None:
    while _held:
        event, hint = _held.popleft()
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()  # it has its own
            sentry_sdk.capture_event(event, hint)


def _flush(**_: Any) -> None:
    if _on() and not _GREEN:
        sentry_sdk.flush()
