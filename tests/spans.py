"""Spans of this process, kept in memory, and everything as it was before at the end: a provider is for all apps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from amqtask import Amqtask, logs, signals
from amqtask.execution.executor import Executor
from amqtask.execution.job import Job, Outcome


class Spans:
    """Those that have ended so far, in the order of their beginnings."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def all(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda span: (span.start_time or 0, span.end_time or 0))

    def names(self) -> list[str]:
        return [span.name for span in self.all()]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def own(span: ReadableSpan) -> int:
    return span.context.span_id


def links(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


def about(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def traceparent(span: ReadableSpan) -> str:
    context = span.context
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def run(app: Amqtask, job: Job) -> Outcome:
    """As a worker of a traced app does, on this thread."""
    app.trace()
    made = Executor(app, "w1@here")
    outcome = made.run(job)
    made.leave_thread()
    return outcome


@contextmanager
def kept_spans(monkeypatch: Any) -> Iterator[Spans]:
    """As if this process had configured OpenTelemetry."""
    spans = Spans()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    told = [one for one in vars(signals).values() if isinstance(one, signals.Signal)]
    receivers, fields = [one.receivers for one in told], logs._Source.trace_fields
    try:
        yield spans
    finally:
        logs.provide_trace_fields(fields)
        for signal, former in zip(told, receivers, strict=True):
            signal.receivers = former
