"""Spans of sending and running tasks, and the trace in the headers of messages. The only file that knows OpenTelemetry.

It stands on what any package could use: middleware of the app for messages, signals for attempts. A span of an attempt
lies around all that is done where the task runs, so that what follows from it is sent inside of it; interruptions of
the task can't hit it. Nothing here may fail a call or a task: what a provider or a propagator raises is logged.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask import logs, signals
from amqtask.errors import ConfigError, SoftTimeLimitExceeded
from amqtask.results.trimming import TRACEBACK_LIMIT, clip, message, type_path
from amqtask.tasks.context import current
from amqtask.tasks.middleware import Middleware
from amqtask.topology.chords import WATCH_TASK
from amqtask.tracing import names
from amqtask.tracing.attributes import of_attempt, of_batch, of_message
from amqtask.version import __version__

try:
    from opentelemetry import context as contexts
    from opentelemetry import propagate, trace
    from opentelemetry.propagators.textmap import Getter
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    raise ConfigError("setting tracing: it needs OpenTelemetry's API: pip install 'amqtask[otel]'") from None

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextvars import Token

    from opentelemetry.context import Context as TraceContext
    from opentelemetry.trace import Span

    from amqtask.tasks.context import Context
    from amqtask.tasks.exception_info import ExceptionInfo
    from amqtask.tasks.middleware import Publishing

logger = logging.getLogger(__name__)

_TEXT = 512
_HEADER = 8192
"""Characters of a header that is read: W3C allows no longer ones, and OpenTelemetry would write them into the log."""
_FLUSH = 1.5
"""Seconds in which a child that ends sends the spans it has; it has two for its end."""

_W3C = TraceContextTextMapPropagator()


class _Headers(Getter["Mapping[str, Any]"]):
    """Reads headers of messages: anybody may have put anything there, and propagators expect texts."""

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        value = carrier.get(key)
        return [value] if isinstance(value, str) and len(value) <= _HEADER else None

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        return list(carrier)


_HEADERS = _Headers()


class _Harmless:
    """Logs what is raised inside; but a soft time limit that hits the sending of a task is meant for the task."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, Exception) or isinstance(error, SoftTimeLimitExceeded):
            return False
        logger.error("OpenTelemetry has failed; what is traced goes on", exc_info=error)
        return True


_harmless = _Harmless()


@dataclass(slots=True)
class _Attempt:
    """An attempt that runs here."""

    request: Context
    span: Span
    attached: Token[TraceContext]
    outer: _Attempt | None


@dataclass(slots=True)
class _Sending:
    """A call that sends messages here, and waits until they are confirmed.

    Attributes:
        began: nanoseconds since the epoch.
        is_root: no span was current.
        span: of one message, as soon as that is known; of several, from the beginning.
    """

    count: int
    began: int
    is_root: bool
    span: Span | None = None


_attempt: ContextVar[_Attempt | None] = ContextVar("amqtask_traced_attempt", default=None)
_sending: ContextVar[_Sending | None] = ContextVar("amqtask_traced_sending", default=None)


class Tracing(Middleware):
    """Traces one app; to be added to its middleware, once. Thread-safe.

    Args:
        tasks: of the app, by name; attempts of others are none of its business.
    """

    def __init__(self, tasks: Mapping[str, Any]) -> None:
        self._tasks = tasks
        self._tracer = trace.get_tracer("amqtask", __version__, schema_url=names.SCHEMA)
        for signal, receiver in (
            (signals.task_prerun, self._begins),
            (signals.task_retry, self._retried),
            (signals.task_failure, self._failed),
            (signals.task_postrun, self._ended),
            (signals.worker_process_shutdown, _flush),
        ):
            signal.connect(receiver)
        logs.provide_trace_fields(_trace_fields)

    # ---- messages

    def before_publish(self, message: Publishing) -> None:
        """Put the trace into the headers of a message, and a span into the trace."""
        if message.task != WATCH_TASK:  # that one comes again and again, and no user's code runs
            with _harmless:
                self._publish(message)

    def _publish(self, message: Publishing) -> None:
        headers, attempt = message.headers, _attempt.get()
        previous = headers.pop(names.PREVIOUS, None)  # that of another one, unless:
        if attempt is not None and previous is not None and previous == _traceparent(attempt.span):
            headers[names.PREVIOUS] = previous  # its next attempt stays where the first one is
            return
        sending = _sending.get()
        parent = _parent(headers, sending)
        is_sent = sending is not None and sending.count == 1 and sending.span is None
        operation = names.SEND if is_sent else names.CREATE
        span = self._tracer.start_span(
            f"{operation} {message.task}",
            parent,
            trace.SpanKind.PRODUCER,
            of_message(message, operation),
            start_time=sending.began if sending is not None and is_sent else None,
        )
        if sending is not None and is_sent:
            sending.span = span
        elif sending is not None and sending.span is not None:
            sending.span.add_link(span.get_span_context())
        propagate.inject(headers, trace.set_span_in_context(span, parent))
        if not is_sent:
            span.end()

    @contextmanager
    def around_publish(self, count: int) -> Iterator[None]:
        """A span around the sending until it is confirmed: the message's own, or one with links to those of several."""
        outer, attached = _sending.get(), None
        sending = _Sending(count, time.time_ns(), is_root=not _is_traced(contexts.get_current()))
        try:
            _sending.set(sending)
            if count > 1:
                with _harmless:
                    sending.span = self._tracer.start_span(
                        names.SEND, kind=trace.SpanKind.CLIENT, attributes=of_batch(count)
                    )
                    attached = contexts.attach(trace.set_span_in_context(sending.span))
            yield
        except BaseException as error:
            if sending.span is not None:
                with _harmless:
                    _set_error(sending.span, error)
            raise
        finally:
            _sending.set(outer)
            if attached is not None:
                contexts.detach(attached)
            if sending.span is not None:
                with _harmless:
                    sending.span.end()

    def before_chord(self, headers: dict[str, Any]) -> None:
        """The body belongs to the trace of the chord; whoever sends it has no span of its own."""
        with _harmless:
            propagate.inject(headers)

    def before_retry(self, request: Context, headers: dict[str, Any]) -> None:
        """The next attempt gets a link to this one; its parent is that of this one, or this one if that has none."""
        attempt = _attempt.get()
        if attempt is not None and attempt.request is request and attempt.span.is_recording():
            headers[names.PREVIOUS] = _traceparent(attempt.span)
            if not _is_traced(propagate.extract(request.headers, contexts.Context(), _HEADERS)):
                propagate.inject(headers)

    # ---- attempts

    def _begins(self, sender: Any, **_: Any) -> None:
        request = current()
        if request is None or self._tasks.get(sender.name) is not sender:
            return
        headers = request.headers
        parent = propagate.extract(headers, contexts.Context(), _HEADERS)
        span = self._tracer.start_span(
            f"{names.PROCESS} {request.task}",
            parent,
            trace.SpanKind.CONSUMER,
            of_attempt(request),
            _links(headers),
        )
        attached = contexts.attach(trace.set_span_in_context(span, parent))
        _attempt.set(_Attempt(request, span, attached, _attempt.get()))

    def _retried(self, einfo: ExceptionInfo, **_: Any) -> None:
        attempt = _running()
        if attempt is not None:
            _record(attempt.span, einfo)

    def _failed(self, exception: BaseException, einfo: ExceptionInfo, **_: Any) -> None:
        attempt = _running()
        if attempt is not None:
            _set_error(attempt.span, exception)
            _record(attempt.span, einfo)

    def _ended(self, state: str, **_: Any) -> None:
        attempt = _running()
        if attempt is None:
            return
        _attempt.set(attempt.outer)
        contexts.detach(attempt.attached)
        attempt.span.set_attribute(names.STATE, state)
        attempt.span.end()


def _running() -> _Attempt | None:
    """The attempt that a signal is about."""
    attempt, request = _attempt.get(), current()
    return attempt if attempt is not None and attempt.request is request else None


def _parent(headers: Mapping[str, Any], sending: _Sending | None) -> TraceContext:
    """Of what is sent here: the current span of the caller; where there is none, what the headers say already."""
    here = contexts.get_current()
    if _is_traced(here) and not (sending is not None and sending.is_root):
        return here
    return propagate.extract(headers, here, _HEADERS)


def _is_traced(context: TraceContext) -> bool:
    return trace.get_current_span(context).get_span_context().is_valid


def _links(headers: Mapping[str, Any]) -> list[trace.Link]:
    previous = headers.get(names.PREVIOUS)
    if not isinstance(previous, str):
        return []
    found = trace.get_current_span(_W3C.extract({"traceparent": previous}, contexts.Context())).get_span_context()
    return [trace.Link(found)] if found.is_valid else []


def _traceparent(span: Span) -> str | None:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, contexts.Context()))
    return carrier.get("traceparent")


def _set_error(span: Span, error: BaseException) -> None:
    kind = type_path(error)
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(trace.StatusCode.ERROR, clip(f"{kind}: {message(error)}", _TEXT))


def _record(span: Span, einfo: ExceptionInfo) -> None:
    """Like ``span.record_exception``, which fails with an exception that fails, and takes any length."""
    about = {
        names.EXCEPTION_TYPE: type_path(einfo.exception),
        names.EXCEPTION_MESSAGE: message(einfo.exception),
        names.STACK_TRACE: einfo.traceback[-TRACEBACK_LIMIT:],  # the end says most
    }
    span.add_event(names.EXCEPTION, about)


def _trace_fields() -> Mapping[str, str] | None:
    """Of the span that is current where something is logged."""
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return None
    return {"trace_id": trace.format_trace_id(found.trace_id), "span_id": trace.format_span_id(found.span_id)}


def _flush(**_: Any) -> None:
    """Children end without Python's own end, at which the SDK would send what it has."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:  # in a thread, for the SDK's takes as long as its exporter, whatever it is told
        thread = threading.Thread(target=flush, name="amqtask-spans", daemon=True)
        thread.start()
        thread.join(_FLUSH)
