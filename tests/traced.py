"""An app whose workers are traced: each process that runs tasks appends its spans to the file ``spans``.

Imported by workers only (``-A traced``); one line of JSON per span, and one per task that began inside of another's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from amqtask import Amqtask
from amqtask.signals import task_prerun, worker_process_init

app = Amqtask("traced", routing="routing.yaml")


def write(**fields: Any) -> None:
    """Append one line; a write this short is atomic on a file that is opened to append."""
    file = os.open("spans", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, (json.dumps(fields) + "\n").encode())
    finally:
        os.close(file)


class ToFile(SpanExporter):
    """Writes spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            about = dict(span.attributes or {})
            write(
                name=span.name,
                trace=span.context.trace_id,
                id=span.context.span_id,
                parent=span.parent.span_id if span.parent else None,
                links=[link.context.span_id for link in span.links],
                queue=about.get("amqtask.queue"),
                state=about.get("amqtask.state"),
                error=about.get("error.type"),
            )
        return SpanExportResult.SUCCESS


@worker_process_init.connect
def configure(**_: Any) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ToFile()))
    trace.set_tracer_provider(provider)


@task_prerun.connect
def find_what_was_left(task: Any, **_: Any) -> None:
    if trace.get_current_span().get_span_context().is_valid:
        write(name=f"{task.name} began inside of another's span")


@app.task(bind=True, name="outer")
def outer(self: Any) -> None:
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    inner.apply_async(queue=self.request.queue)


@app.task(bind=True, name="aouter")
async def aouter(self: Any) -> None:
    await inner.aapply_async(queue=self.request.queue)


@app.task(name="inner")
def inner() -> None: ...


@app.task(name="late", soft_time_limit=0.1)
def late() -> None:
    while True:
        time.sleep(0.01)
