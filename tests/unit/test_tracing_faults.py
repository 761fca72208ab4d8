"""What fails or means harm to tracing stops no message and no task: providers, limits, exceptions, headers."""

from __future__ import annotations

import asyncio
import gc

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from pool_host import job_for
from recording import RecordingTransport
from shop import make_shop, task_of
from spans import about, kept_spans, parent, run

from amqtask import group, signals
from amqtask.errors import ConfigError, SoftTimeLimitExceeded
from amqtask.execution.job import Kind
from amqtask.tracing.names import PREVIOUS
from amqtask.tracing.spans import _sending

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPAN = 0xB7AD6B7169203331


@pytest.fixture
def spans(monkeypatch):
    with kept_spans(monkeypatch) as spans:
        yield spans


@pytest.fixture
def app(spans):
    return make_shop(RecordingTransport())


class Broken(SpanProcessor):
    """Of somebody's who is not as careful as those of the SDK."""

    def __init__(self, moment, error):
        self.moment, self.error = moment, error

    def on_start(self, span, parent_context=None):
        if self.moment == "on_start":
            raise self.error

    def on_end(self, span):
        if self.moment == "on_end":
            raise self.error


@pytest.mark.parametrize("moment", ["on_start", "on_end"])
def test_what_a_provider_raises_stops_no_message_and_no_task(app, spans, moment, caplog):
    spans.provider.add_span_processor(Broken(moment, RuntimeError("no room")))
    add = task_of(app)
    add.delay(1)
    asyncio.run(add.adelay(1))
    add.delay_many([(3,), (4,)])
    group(add.s(5), add.s(6)).delay()
    assert len(app.transport.sent) == 6
    assert run(app, job_for(1, "plain.add", 1)).kind == Kind.SUCCESS
    assert "no room" in caplog.text
    assert not trace.get_current_span().get_span_context().is_valid


def test_an_error_of_sending_is_the_callers_whatever_a_provider_raises(app, spans):
    spans.provider.add_span_processor(Broken("on_end", RuntimeError("no room")))
    app.transport.fail("plain", OSError("no way"))
    with pytest.raises(OSError, match="no way"):
        task_of(app).delay(1)


@pytest.mark.parametrize("moment", ["on_start", "on_end"])
def test_a_soft_time_limit_that_hits_the_tracing_reaches_the_task(app, spans, moment):
    task = task_of(app)
    spans.provider.add_span_processor(Broken(moment, SoftTimeLimitExceeded()))
    with pytest.raises(SoftTimeLimitExceeded):
        task.delay(1)
    assert _sending.get() is None


def test_a_call_that_is_cancelled_has_not_been_confirmed(app, spans):
    async def cancelled():
        waits = asyncio.Event()

        async def asend(_message, *, timeout):  # noqa: ASYNC109 -- a Transport has it
            del timeout
            waits.set()
            await asyncio.Event().wait()

        app.transport.asend = asend
        call = asyncio.create_task(task_of(app).adelay(1))
        await waits.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())
    assert about(spans.one("send plain.add"))["error.type"] == "asyncio.exceptions.CancelledError"


def test_an_exception_that_cannot_be_described_ends_the_span_like_any_other(app, spans):
    class Hostile(Exception):
        def __str__(self):
            raise RuntimeError("no")

    @app.task(name="plain.hostile")
    def hostile():
        raise Hostile

    run(app, job_for(1, "plain.hostile"))
    ran = spans.one("process plain.hostile")
    assert about(ran)["amqtask.state"] == "FAILURE"
    assert "raised RuntimeError" in ran.events[0].attributes["exception.message"]


def test_an_exception_that_says_megabytes_is_trimmed(app, spans):
    @app.task(name="plain.long")
    def long():
        raise ValueError("x" * 1_000_000)

    run(app, job_for(1, "plain.long"))
    ran = spans.one("process plain.long")
    texts = [ran.status.description, *(value for event in ran.events for value in event.attributes.values())]
    assert sum(map(len, texts)) < 30_000


@pytest.mark.parametrize("value", [5, b"\xff", ["a"], {"a": 1}, None, "", "00-0-0-0", "x" * 100_000, CALLER + "-extra"])
@pytest.mark.parametrize("name", ["traceparent", "tracestate", "baggage", PREVIOUS])
def test_garbage_in_the_headers_is_no_trace(app, spans, name, value, caplog):
    task_of(app, "plain.add")
    headers = {"traceparent": CALLER, name: value}
    assert run(app, job_for(1, "plain.add", 1, headers=headers)).kind == Kind.SUCCESS
    ran = spans.one("process plain.add")
    assert parent(ran) in {None, SPAN}
    assert not ran.links
    assert len(caplog.text) < 1_000


def test_an_opentelemetry_that_does_not_work_is_logged_unless_it_is_asked_for(monkeypatch, caplog):
    def broken():
        raise ValueError("no such provider")

    monkeypatch.setattr(trace, "get_tracer_provider", broken)
    app = make_shop(RecordingTransport())
    task_of(app).delay(1)
    assert not app.middleware
    assert "no such provider" in caplog.text
    with pytest.raises(ConfigError, match="setting tracing: .*no such provider"):
        make_shop(RecordingTransport(), tracing="on").trace()


def test_an_app_that_nobody_holds_any_more_is_told_of_nothing(spans):
    app = make_shop(RecordingTransport())
    former = signals.task_prerun.receivers
    app.trace()
    assert set(signals.task_prerun.receivers) > set(former)
    del app
    gc.collect()
    assert set(signals.task_prerun.receivers) <= set(former)
