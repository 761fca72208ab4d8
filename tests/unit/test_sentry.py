"""What Sentry is told of tasks, by its real library; what it would send is kept."""

from __future__ import annotations

import runpy
import sys
import threading
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from pool_app import HOSTILE, make_app
from pool_host import Bench, job_for
from sentry_sdk.transport import Transport

from amqtask import Amqtask, BaseTask, signals
from amqtask.contrib import sentry
from amqtask.errors import ConfigError, Ignore, Reject, SoftTimeLimitExceeded
from amqtask.schedules.records import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator

app = Amqtask("kept", broker="amqp://nobody.invalid")


class Picky(BaseTask):
    throws = (KeyError,)


class Kept(Transport):
    items: list[dict[str, Any]] = []  # noqa: RUF012 -- one for all of them

    def capture_envelope(self, envelope: Any) -> None:
        self.items += [{"type": one.type, **one.payload.json} for one in envelope.items]


RAISED: dict[str, BaseException] = {
    "ignore": Ignore(),
    "reject": Reject("no"),
    "requeue": Reject("later", requeue=True),
    "expected": KeyError("known"),
    "failure": ValueError("unknown"),
    "exit": SystemExit(3),
    "soft": SoftTimeLimitExceeded("the soft time limit has passed"),
}


UNHEARD = {"lies about its class", "GeneratorExit", "CancelledError"}
"""Of the hostile ones: it says that it is ``Reject``; the others are of coroutines that end."""


@app.task(name="fail", base=Picky)
def fail(what: str) -> None:
    sentry_sdk.set_tag("own", what)
    raise RAISED[what]


@app.task(name="afail", base=Picky)
async def afail(what: str) -> None:
    sentry_sdk.set_tag("own", what)
    raise RAISED[what]


@app.task(name="again", autoretry_for=(OSError,), max_retries=2)
def again() -> None:
    raise OSError("not yet")


@app.task(name="unsendable", bind=True)
def unsendable(self: Any) -> None:
    self.retry(args=(object(),))


@app.task(name="outer")
def outer() -> None:
    fail.apply(("failure",))
    sentry_sdk.capture_message("still here")


@app.task(name="send")
def send() -> None:
    fail.delay("ignore")


@app.task(name="leave_open")
def leave_open() -> None:
    sentry_sdk.start_span(op="own").__enter__()


def init(**options: Any) -> None:
    given = {"default_integrations": False, "traces_sample_rate": 1.0, "integrations": [sentry.AmqtaskIntegration()]}
    sentry_sdk.init(dsn="http://key@sentry.invalid/1", transport=Kept, **{**given, **options})
    sentry.AmqtaskIntegration.setup_once()  # of an earlier test's nothing is left


@pytest.fixture(autouse=True)
def told() -> Iterator[list[dict[str, Any]]]:
    Kept.items = []
    init()
    yield Kept.items
    sentry_sdk.get_global_scope().set_client(None)
    for one in vars(signals).values():
        if isinstance(one, signals.Signal):
            for receiver in [held.receiver() for held in one.receivers]:
                if getattr(receiver, "__module__", None) == sentry.__name__:
                    one.disconnect(receiver)


def run(*jobs: Any, pool: str = "threads") -> list[dict[str, Any]]:
    """The events, not the transactions."""
    with Bench(app, pool) as bench:
        bench.run(*jobs)
    return [one for one in Kept.items if one["type"] == "event"]


@pytest.mark.parametrize("pool", ["threads", "asyncio", "solo"])
@pytest.mark.parametrize("task", ["fail", "afail"])
def test_only_what_nobody_expects_is_an_event_and_tells_of_its_own_task(pool: str, task: str) -> None:
    jobs = {what: job_for(key, task, what) for key, what in enumerate(RAISED)}
    events = run(*jobs.values(), pool=pool)
    assert sorted(one["tags"]["own"] for one in events) == ["exit", "failure", "soft"]
    for one in events:
        job, raised = jobs[one["tags"]["own"]], one["exception"]["values"][-1]
        assert (one["transaction"], one["tags"]["amqtask_task_id"]) == (task, job.headers["id"])
        assert (raised["mechanism"]["type"], raised["mechanism"]["handled"]) == ("amqtask", False)
        assert [frame["function"] for frame in raised["stacktrace"]["frames"]] == [task], "not of what is around it"


def test_events_of_a_passed_soft_limit_are_grouped_by_task() -> None:
    (event,) = run(job_for(1, "fail", "soft"))
    assert event["fingerprint"] == ["amqtask", "SoftTimeLimitExceeded", "fail"]


def test_attempts_that_are_retried_are_no_events_and_the_last_one_is() -> None:
    (event,) = run(job_for(1, "again"), job_for(2, "again", retries=1), job_for(3, "again", retries=2))
    assert event["contexts"]["amqtask"]["retries"] == 2
    assert event["exception"]["values"][-1]["value"] == "not yet"


def test_a_retry_that_cannot_be_sent_is_an_event() -> None:
    (event,) = run(job_for(1, "unsendable"))
    assert event["transaction"] == "unsendable"


@pytest.mark.filterwarnings("ignore:The send_default_pii option is deprecated")
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, "[Filtered]"),
        ({"send_default_pii": True}, ["failure"]),
        ({"data_collection": {"queues": True}}, ["failure"]),
        ({"data_collection": {"queues": False}}, "[Filtered]"),
    ],
)
def test_arguments_are_told_where_sentry_may_have_them(options: dict[str, Any], shown: Any) -> None:
    init(**options)
    (event,) = run(job_for(1, "fail", "failure"))
    assert event["contexts"]["amqtask"]["args"] == shown


def test_a_task_that_is_called_in_place_has_a_scope_of_its_own() -> None:
    inner, message = run(job_for(1, "outer"))
    assert (inner["transaction"], inner["tags"]["own"]) == ("fail", "failure")
    assert message["transaction"] == "outer"
    assert "own" not in message["tags"]


def test_nothing_of_a_task_is_left_in_the_thread_that_ran_it() -> None:
    with Bench(app, "threads", 1) as bench:
        bench.run(job_for(1, "fail", "failure"))
        bench.run(job_for(2, "outer"))
    assert "own" not in next(one for one in Kept.items if one.get("message") == "still here")["tags"]


def test_attempts_are_transactions_that_say_how_they_ended() -> None:
    run(job_for(1, "fail", "failure"), job_for(2, "again"), job_for(3, "outer"), job_for(4, "leave_open"))
    ends = {one["transaction"]: one["contexts"]["trace"]["status"] for one in Kept.items if one["type"] != "event"}
    assert ends == {"fail": "internal_error", "again": "aborted", "outer": "ok", "leave_open": "ok"}


def test_with_spans_that_are_streamed_there_are_events_of_the_trace_and_no_transactions() -> None:
    init(trace_lifecycle="stream")
    (event,) = run(job_for(1, "fail", "failure", headers={"sentry-trace": f"{'ab' * 16}-{'cd' * 8}-1"}))
    assert event["contexts"]["trace"]["trace_id"] == "ab" * 16
    assert Kept.items == [event]


def test_a_trace_goes_on_in_what_a_task_sends() -> None:
    trace = "0123456789abcdef0123456789abcdef"
    headers = {"sentry-trace": f"{trace}-0123456789abcdef-1", "baggage": f"sentry-trace_id={trace}"}
    with Bench(app, "threads") as bench:
        bench.run(job_for(1, "send", headers=headers))
    (sent,) = bench.published
    assert sent.properties.headers is not None
    assert sent.properties.headers["sentry-trace"].startswith(f"{trace}-")
    assert sent.properties.headers["sentry-trace"] != headers["sentry-trace"], "its parent is the task"
    assert {one["contexts"]["trace"]["trace_id"] for one in Kept.items} == {trace}


def test_tasks_that_nobody_names_a_trace_for_have_one_each_and_the_scheduler_names_none() -> None:
    sent = {HEADER: {}}
    sentry._propagate(headers=sent)
    assert sent == {HEADER: {}}
    first, second = run(job_for(1, "fail", "failure"), job_for(2, "fail", "failure"))
    assert first["contexts"]["trace"]["trace_id"] != second["contexts"]["trace"]["trace_id"]


def test_baggage_of_others_is_kept() -> None:
    headers = {"baggage": "tenant=acme"}
    sentry._propagate(headers=headers)
    first, *others = headers["baggage"].split(",")
    assert first == "tenant=acme"
    assert any(one.startswith("sentry-trace_id=") for one in others)


@pytest.mark.parametrize("which", HOSTILE)
def test_hostile_exceptions_end_their_scope_as_all_do(which: str, caplog: pytest.LogCaptureFixture) -> None:
    with Bench(make_app(), "threads", 1) as bench:
        bench.run(job_for(1, "hostile", which))
    assert [one["transaction"] for one in Kept.items if one["type"] == "transaction"] == ["hostile"]
    events = [one for one in Kept.items if one["type"] == "event"]
    assert len(events) + caplog.text.count("Sentry can't be told") == (which not in UNHEARD)


@pytest.mark.parametrize("odd", [5, None, b"x", ["a"], "no trace", {"a": 1}])
def test_odd_headers_of_clients_are_no_trace_and_change_nothing(odd: Any) -> None:
    headers = {"sentry-trace": odd, "baggage": odd, "headers": odd}
    (event,) = run(job_for(1, "fail", "failure", headers=headers))
    assert event["tags"]["own"] == "failure"
    del headers["sentry-trace"]
    sentry._propagate(headers=headers)
    assert headers["sentry-trace"]


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    with pytest.raises(ConfigError, match=r"Sentry needs sentry-sdk .*: pip install 'amqtask\[sentry\]'"):
        runpy.run_path(sentry.__file__)


def test_threads_of_a_program_with_greenlets_that_is_no_worker_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentry, "_GREEN", True)
    thread = threading.Thread(target=sentry_sdk.capture_message, args=("of a web server",))
    thread.start()
    thread.join()
    assert [one["message"] for one in Kept.items] == ["of a web server"]


def test_without_the_integration_nothing_is_told() -> None:
    init(integrations=[])
    run(job_for(1, "fail", "failure"), job_for(2, "send"))
    assert Kept.items == []


def test_traces_go_on_between_celery_and_here_while_both_integrations_are_on(monkeypatch: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from celery import Celery
        from celery.app import trace as tracing
        from sentry_sdk.integrations.celery import CeleryIntegration
    theirs = Celery("theirs", broker="memory://")
    monkeypatch.setattr(tracing, "build_tracer", tracing.build_tracer)
    for owner, name in ((Celery, "send_task"), (theirs.Task, "apply_async")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    init(integrations=[sentry.AmqtaskIntegration(), CeleryIntegration()])
    ran: list[Any] = []

    @theirs.task(name="theirs")
    def of_theirs() -> None:
        ran.append(sentry_sdk.get_current_span().trace_id)

    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(theirs.amqp, "send_task_message", lambda *_, **__: None)
    monkeypatch.setattr(
        theirs.amqp, "create_task_message", lambda *_, headers=None, **__: sent.append(headers) or SimpleNamespace()
    )
    with sentry_sdk.start_transaction(name="outside") as span:
        headers: dict[str, Any] = {}
        sentry._propagate(headers=headers)
        of_theirs.apply_async()
    tracer = tracing.build_tracer("theirs", of_theirs, app=theirs)
    tracer("id", (), {}, {"id": "id", "task": "theirs", "delivery_info": {}, **headers})
    assert ran == [span.trace_id]
    (event,) = run(job_for(1, "fail", "failure", headers=sent[0]))
    assert event["contexts"]["trace"]["trace_id"] == span.trace_id
