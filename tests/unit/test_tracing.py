"""Spans of messages and attempts, and the trace in the headers, without a broker."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest
from opentelemetry import baggage, context, trace
from pool_host import job_for
from recording import RecordingTransport
from shop import make_shop, task_of
from spans import about, kept_spans, links, own, parent, run, traceparent

from amqtask import group, logs
from amqtask.errors import ConfigError, EncodeError
from amqtask.execution.executor import Executor
from amqtask.execution.job import Kind
from amqtask.tracing.names import PREVIOUS
from amqtask.tracing.spans import Tracing

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = (int(part, 16) for part in CALLER.split("-")[1:3])


@pytest.fixture
def spans(monkeypatch):
    with kept_spans(monkeypatch) as spans:
        yield spans


@pytest.fixture
def app(spans):
    return make_shop(RecordingTransport())


@pytest.fixture
def caller():
    """A span of the program that sends."""
    with trace.get_tracer("test").start_as_current_span("GET /") as span:
        yield span


def headers_of(app):
    return app.transport.last.properties.headers


# ---- sending


def test_a_sent_message_is_a_span_and_carries_its_trace(app, spans, caller):
    result = task_of(app, "mail.add").delay(1)
    sent = spans.one("send mail.add")
    assert headers_of(app)["traceparent"] == traceparent(sent)
    assert parent(sent) == caller.get_span_context().span_id
    assert sent.kind is trace.SpanKind.PRODUCER
    assert about(sent) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "tasks:email.send",
        "messaging.rabbitmq.destination.routing_key": "email.send",
        "messaging.message.id": result.id,
        "amqtask.task": "mail.add",
        "amqtask.task_id": result.id,
    }


def test_baggage_goes_along(app):
    token = context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        task_of(app).delay(1)
    finally:
        context.detach(token)
    assert headers_of(app)["baggage"] == "tenant=acme"


def test_a_delayed_message_is_said_to_go_where_it_goes_at_last(app, spans):
    task_of(app).apply_async((1,), countdown=60)
    assert about(spans.one("send plain.add"))["messaging.destination.name"] == "plain"
    assert "traceparent" in headers_of(app)


def test_the_messages_of_a_batch_have_spans_of_their_own_which_the_sending_is_linked_to(app, spans):
    task_of(app).delay_many([(1,), (2,), (3,)])
    send, created = spans.one("send"), spans.named("create plain.add")
    assert send.kind is trace.SpanKind.CLIENT
    assert about(send)["messaging.batch.message_count"] == 3
    assert links(send) == [own(span) for span in created]
    assert [one.properties.headers["traceparent"] for one in app.transport.sent] == [
        traceparent(one) for one in created
    ]


def test_what_sending_raises_is_in_its_span(app, spans):
    app.transport.fail("plain", OSError("no way"))
    with pytest.raises(OSError, match="no way"):
        task_of(app).delay(1)
    sent = spans.one("send plain.add")
    assert sent.status.status_code is trace.StatusCode.ERROR
    assert about(sent)["error.type"] == "OSError"


@pytest.mark.parametrize("given", [CALLER, "garbage"])
def test_a_header_of_the_callers_is_replaced_by_the_span_of_the_message(app, spans, given, caller):
    task_of(app).apply_async((1,), headers={"traceparent": given, PREVIOUS: CALLER})
    assert headers_of(app)["traceparent"] == traceparent(spans.one("send plain.add"))
    assert PREVIOUS not in headers_of(app)


@pytest.mark.parametrize("count", [1, 2])
def test_a_header_of_the_callers_is_the_parent_where_there_is_no_span(app, spans, count):
    add = task_of(app)
    group(add.s(1).set(headers={"traceparent": CALLER}) for _ in range(count)).delay()
    sent = spans.named("send plain.add" if count == 1 else "create plain.add")
    assert [(span.context.trace_id, parent(span)) for span in sent] == [(TRACE, SPAN)] * count
    assert [one.properties.headers["traceparent"] for one in app.transport.sent] == [traceparent(one) for one in sent]


def test_a_call_that_makes_no_message_is_no_span(app, spans):
    with pytest.raises(EncodeError):
        task_of(app).delay(object())
    task_of(app).delay_many([])
    group([]).delay()
    assert spans.names() == []


# ---- running


def test_an_attempt_is_a_child_of_its_message_around_what_the_task_does(app, spans):
    @app.task(name="plain.outer")
    def outer():
        trace.get_current_span().set_attribute("mine", baggage.get_baggage("tenant"))

    headers = {"traceparent": CALLER, "baggage": "tenant=acme"}
    assert run(app, job_for(1, "plain.outer", headers=headers)).kind == Kind.SUCCESS
    ran = spans.one("process plain.outer")
    assert (ran.context.trace_id, parent(ran)) == (TRACE, SPAN)
    assert ran.kind is trace.SpanKind.CONSUMER
    assert not ran.links
    assert ran.status.status_code is trace.StatusCode.UNSET
    assert about(ran) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "amqtask",
        "messaging.rabbitmq.destination.routing_key": "amqtask",
        "messaging.message.id": about(ran)["amqtask.task_id"],
        "amqtask.task": "plain.outer",
        "amqtask.task_id": about(ran)["amqtask.task_id"],
        "amqtask.root_id": about(ran)["amqtask.task_id"],
        "amqtask.queue": "amqtask",
        "amqtask.retries": 0,
        "amqtask.worker": "w1@here",
        "amqtask.state": "SUCCESS",
        "mine": "acme",
    }
    assert not trace.get_current_span().get_span_context().is_valid


def test_coroutines_run_in_their_span_too(app, spans):
    @app.task(name="plain.awaited")
    async def awaited():
        trace.get_current_span().set_attribute("mine", True)

    run(app, job_for(1, "plain.awaited"))
    assert about(spans.one("process plain.awaited"))["mine"] is True


def test_coroutines_on_one_loop_are_each_in_a_span_of_their_own_also_when_cancelled(app, spans):
    seen, all_run = {}, asyncio.Event()

    @app.task(name="plain.waits")
    async def waits(number):
        seen[number] = [trace.get_current_span().get_span_context().span_id]
        if len(seen) == 3:
            all_run.set()
        await (asyncio.Event() if number == 2 else all_run).wait()
        seen[number].append(trace.get_current_span().get_span_context().span_id)

    async def all_of_them(executor):
        attempts = [asyncio.create_task(executor.arun(job_for(number, "plain.waits", number))) for number in range(3)]
        await asyncio.gather(*attempts[:2])
        attempts[2].cancel()
        return await attempts[2]

    app.trace()
    assert asyncio.run(all_of_them(Executor(app, "w1@here"))).kind == Kind.FAILED
    ran = [own(span) for span in spans.named("process plain.waits")]
    assert list(seen.values()) == [[ran[0]] * 2, [ran[1]] * 2, [ran[2]]]


def test_a_failure_is_an_error_with_its_traceback(app, spans):
    @app.task(name="plain.fail")
    def fail():
        raise ValueError("no such order")

    run(app, job_for(1, "plain.fail"))
    failed = spans.one("process plain.fail")
    assert (about(failed)["amqtask.state"], about(failed)["error.type"]) == ("FAILURE", "ValueError")
    assert (failed.status.status_code, failed.status.description) == (
        trace.StatusCode.ERROR,
        "ValueError: no such order",
    )
    (event,) = failed.events
    assert event.attributes["exception.type"] == "ValueError"
    assert "in fail\n" in event.attributes["exception.stacktrace"]


@pytest.mark.parametrize("options", [{}, {"priority": 3}], ids=["the same message", "a message of its own"])
def test_the_next_attempt_keeps_its_parent_and_is_linked_to_the_one_before(app, spans, options):
    @app.task(bind=True, name="plain.again")
    def again(self):
        raise self.retry(countdown=60, **options)

    outcome = run(app, job_for(1, "plain.again", headers={"traceparent": CALLER}))
    assert outcome.kind == Kind.RETRY
    first = spans.one("process plain.again")
    if options:
        (message,) = outcome.after.messages
        headers = message.properties.headers
    else:
        headers = {"traceparent": CALLER, **outcome.headers}
    assert (headers["traceparent"], headers[PREVIOUS]) == (CALLER, traceparent(first))
    assert first.status.status_code is trace.StatusCode.UNSET
    assert [event.name for event in first.events] == ["exception"]

    run(app, job_for(2, "plain.again", headers={name: headers[name] for name in ("traceparent", PREVIOUS)}))
    second = spans.named("process plain.again")[1]
    assert (parent(second), links(second)) == (SPAN, [own(first)])
    assert spans.names() == ["process plain.again"] * 2


def test_attempts_of_a_message_without_a_trace_are_one_trace(app, spans):
    @app.task(bind=True, name="plain.again")
    def again(self):
        raise self.retry(countdown=0)

    headers = {}
    for number in range(3):
        headers |= run(app, job_for(number, "plain.again", headers=headers)).headers
    first, second, third = spans.named("process plain.again")
    assert (parent(first), parent(second), parent(third)) == (None, own(first), own(first))
    assert (links(second), links(third)) == ([own(first)], [own(second)])


def test_what_follows_from_a_task_is_sent_inside_of_its_span(app, spans):
    add = task_of(app)
    (add.s(1) | add.s(2)).apply_async()
    first = app.transport.last
    job = job_for(1, "plain.add")._replace(headers=first.properties.headers, body=first.body)
    (message,) = run(app, job).after.messages
    created = spans.one("create plain.add")
    assert parent(created) == own(spans.one("process plain.add"))
    assert message.properties.headers["traceparent"] == traceparent(created)


def test_what_a_task_sends_belongs_to_its_trace(app, spans):
    add = task_of(app)

    @app.task(name="plain.outer")
    def outer():
        add.delay(1)

    run(app, job_for(1, "plain.outer", headers={"traceparent": CALLER}))
    assert parent(spans.one("send plain.add")) == own(spans.one("process plain.outer"))


def test_eager_calls_are_traced_as_others_are(app, spans):
    task_of(app).apply((1,))
    assert parent(spans.one("process plain.add")) == own(spans.one("create plain.add"))


def test_what_an_earlier_task_has_left_on_its_thread_is_no_parent(app, spans, caller):
    task_of(app, "plain.add")
    run(app, job_for(1, "plain.add", 1))
    assert parent(spans.one("process plain.add")) is None


def test_attempts_of_another_app_are_none_of_its_business(app, spans):
    other = make_shop(RecordingTransport(), tracing="off")
    task_of(other, "plain.add")
    task_of(app, "plain.add")
    app.trace()
    run(other, job_for(1, "plain.add", 1))
    assert spans.names() == []


# ---- the log


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_that_a_task_writes_name_its_trace(app, spans, form):
    formatter = logs.JSONFormatter() if form == "json" else logs.TextFormatter()
    lines = []

    @app.task(name="plain.logs")
    def writes():
        lines.append(formatter.format(logging.makeLogRecord({"msg": "half way", "levelname": "INFO"})))

    fields = logs._Source.task_fields
    logs.provide_task_fields(lambda: {"task": "plain.logs", "task_id": "42"})
    try:
        run(app, job_for(1, "plain.logs", headers={"traceparent": CALLER}))
        outside = formatter.format(logging.makeLogRecord({"msg": "later", "levelname": "INFO"}))
    finally:
        logs.provide_task_fields(fields)
    (line,) = lines
    assert f"{TRACE:032x}" in line
    assert f"{TRACE:032x}" not in outside
    if form == "json":
        assert f'"span_id": "{own(spans.one("process plain.logs")):016x}"' in line
    else:
        assert line.endswith(f"] plain.logs[42] trace {TRACE:032x}: half way")


# ---- on and off


def traced(app):
    return any(isinstance(one, Tracing) for one in app.middleware)


def test_auto_waits_for_a_provider(monkeypatch):
    app = make_shop(RecordingTransport())
    task_of(app).delay(1)
    assert not traced(app)
    with kept_spans(monkeypatch) as spans:
        app.trace()
        app.trace()
        task_of(app, "mail.add").delay(1)
        assert spans.names() == ["send mail.add"]


def test_off_is_off_whatever_is_configured(spans):
    app = make_shop(RecordingTransport(), tracing="off")
    task_of(app).delay(1)
    run(app, job_for(1, "plain.add", 1))
    assert spans.names() == []
    assert "traceparent" not in headers_of(app)


def test_on_without_a_provider_passes_a_trace_on(monkeypatch):
    with kept_spans(monkeypatch):
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
        app = make_shop(RecordingTransport(), tracing="on")
        add = task_of(app)

        @app.task(name="plain.outer")
        def outer():
            add.delay(1)

        run(app, job_for(1, "plain.outer", headers={"traceparent": CALLER}))
        assert headers_of(app)["traceparent"] == CALLER


def test_on_without_the_package_names_the_extra():
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from amqtask import Amqtask\n"
        "Amqtask('shop', tracing='on').trace()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "amqtask[otel]" in ended.stderr.splitlines()[-1]
    assert ConfigError.__name__ in ended.stderr


def test_an_app_that_is_not_traced_loads_nothing_of_it():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from recording import RecordingTransport\n"
        "from shop import make_shop, task_of\n"
        "app = make_shop(RecordingTransport()); task_of(app).delay(1); app.trace()\n"
        "assert not app.middleware\n"
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry', 'amqtask.tracing.spans'))]"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
