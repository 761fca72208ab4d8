"""One job through the executor: every way in and every way out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pool_app import HOSTILE, make_app
from pool_host import job_for

from amqtask.execution.executor import Executor
from amqtask.execution.job import Job, Kind, Outcome
from amqtask.results import trimming
from amqtask.topology.declarations import Queue, RetryPolicy
from amqtask.wire.codec import decode
from amqtask.wire.compression import CONTENT_TYPES, compress
from amqtask.wire.serializers.json import SERIALIZER as JSON


def executor(**settings: Any) -> Executor:
    return Executor(make_app(**settings), "w1@here", log_results=True)


def run(job: Job, **settings: Any) -> Outcome:
    made = executor(**settings)
    outcome = made.run(job)
    made.leave_thread()
    return outcome


def test_broken_body_is_undecodable() -> None:
    outcome = run(job_for(1, "add", 1)._replace(body=b"\xc1"))
    assert outcome.kind == Kind.UNDECODABLE
    assert outcome.error is not None
    assert outcome.error[0] == "amqtask.errors.DecodeError"
    assert outcome.runtime == 0


@pytest.mark.parametrize("headers", [{}, {"task": 7, "id": "x"}, {"task": "add"}, {"task": "add", "id": ["x"]}])
def test_message_without_the_headers_of_a_task_is_undecodable(headers: dict[str, Any]) -> None:
    assert run(job_for(1, "add", 1)._replace(headers=headers)).kind == Kind.UNDECODABLE


def test_task_of_a_client_that_leaves_the_waiting_to_workers_is_early() -> None:
    due = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    outcome = run(job_for(1, "add", 1, headers={"eta": due}))
    assert outcome.kind == Kind.EARLY
    assert 59 < outcome.delay <= 60


def test_task_that_is_due_runs_whatever_way_its_message_took() -> None:
    due = (datetime.now(UTC) + timedelta(milliseconds=20)).isoformat()  # clocks differ
    assert run(job_for(1, "add", 1, headers={"eta": due, "CC": ["q"]})).kind == Kind.SUCCESS


def test_retry_of_a_celery_worker_is_early_though_it_copies_what_an_earlier_delay_left() -> None:
    due = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert run(job_for(1, "add", 1, headers={"eta": due, "CC": ["q"], "x-death": [{}]})).kind == Kind.EARLY


def test_header_of_the_wrong_type_is_undecodable() -> None:
    assert run(job_for(1, "add", 1, headers={"eta": "soon"})).kind == Kind.UNDECODABLE


def test_content_type_that_is_not_accepted_is_refused() -> None:
    outcome = run(job_for(1, "add", 1)._replace(content_type="application/x-python-serialize"))
    assert outcome.kind == Kind.REFUSED
    assert "accept_content" in outcome.text


def test_unknown_task_is_named() -> None:
    outcome = run(job_for(1, "gone.task"))
    assert (outcome.kind, outcome.text) == (Kind.UNKNOWN_TASK, "no task is named 'gone.task'")


def test_expired_message_is_not_run() -> None:
    now = datetime.now(UTC)
    late = run(job_for(1, "add", 1, expires=now - timedelta(seconds=1)))
    assert (late.kind, late.runtime) == (Kind.EXPIRED, 0)
    assert run(job_for(1, "add", 1, expires=now + timedelta(hours=1))).kind == Kind.SUCCESS


def test_request_says_where_the_message_came_from() -> None:
    job = job_for(1, "request", retries=2, headers={"tenant": 7})
    job = job._replace(redelivered=True, deliveries=4, priority=5, exchange="tasks", routing_key="email.send")
    outcome = run(job)
    seen = eval(outcome.text)  # the repr of what the task returned
    assert seen == {
        "id": job.headers["id"],
        "retries": 2,
        "queue": "amqtask",
        "hostname": "w1@here",
        "root_id": job.headers["id"],
        "delivery_info": {
            "exchange": "tasks",
            "routing_key": "email.send",
            "priority": 5,
            "redelivered": True,
        },
        "count": 4,
        "headers": {"tenant": 7},
    }


def test_retry_keeps_the_id_counts_up_and_is_its_own_parent() -> None:
    job = job_for(1, "again", root_id="root")
    outcome = run(job)
    assert outcome.kind == Kind.RETRY
    assert outcome.error is not None
    assert outcome.error[:2] == ("ValueError", "not yet")
    headers = outcome.headers or {}
    assert (headers["retries"], headers["root_id"], headers["parent_id"]) == (1, "root", job.headers["id"])
    wait = datetime.fromisoformat(headers["eta"]) - datetime.now(UTC)
    assert timedelta(seconds=1) < wait <= timedelta(seconds=2.5)


def test_next_attempt_knows_when_the_first_one_failed() -> None:
    first = run(job_for(1, "again")).headers or {}
    assert datetime.now(UTC) - datetime.fromisoformat(first["x-amqtask-first-time"]) < timedelta(seconds=30)
    for told, kept in (("2026-01-01", True), (5, False)):
        second = run(job_for(1, "again", headers={"x-amqtask-first-time": told})).headers or {}
        assert (second["x-amqtask-first-time"] == told) == kept


def test_next_attempt_elsewhere_knows_it_too() -> None:
    app = make_app(backend="rpc://")

    @app.task(name="moves", bind=True)
    def moves(self: Any) -> None:
        raise self.retry(queue="other", exc=ValueError("no"))

    outcome = Executor(app, "w1@here").run(job_for(1, "moves", headers={"x-amqtask-first-time": "2026-01-01"}))
    assert outcome.kind == Kind.RETRY
    assert outcome.after is not None
    (message,) = outcome.after.messages
    assert (message.properties.headers or {})["x-amqtask-first-time"] == "2026-01-01"


@pytest.mark.parametrize(
    ("task", "headers", "kind"),
    [("add", {"expires": "2020-01-01T00:00:00+00:00"}, Kind.EXPIRED), ("hostile", {}, Kind.FAILED)],
)
def test_caller_hears_of_a_failure_whose_followups_cannot_be_told(monkeypatch, task, headers, kind) -> None:
    def defect(*_args: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("amqtask.execution.followups.after_failure", defect)
    embed = {"errbacks": [{"task": "add", "options": {}}]}
    outcome = run(job_for(1, task, "memory", embed=embed, headers=headers)._replace(reply_to="r"), backend="rpc://")
    assert outcome.kind == kind
    assert outcome.after is not None
    assert [record.reply_to for record in outcome.after.records] == ["r"]


def test_last_retry_fails_with_the_cause() -> None:
    outcome = run(job_for(1, "again", retries=2))
    assert outcome.kind == Kind.FAILED
    assert outcome.error is not None
    assert outcome.error[0] == "ValueError"


def test_policy_of_the_queue_retries_any_exception_with_its_exact_delay() -> None:
    queue = Queue("amqtask", retry=RetryPolicy((timedelta(seconds=5),), max_retries=1))
    first = run(job_for(1, "hostile", "memory"), task_queues=[queue])
    assert (first.kind, first.delay, first.exact) == (Kind.RETRY, 5.0, True)
    second = run(job_for(1, "hostile", "memory", retries=1), task_queues=[queue])
    assert (second.kind, second.text) == (Kind.FAILED, "failed after 1 retries")


def test_new_arguments_are_written_in_the_format_of_the_message() -> None:
    job = job_for(1, "again_with", 1)._replace(
        content_type="application/json", body=JSON.dumps([[1], {}, {"chain": None}])
    )
    outcome = run(job)
    assert outcome.body is not None
    assert JSON.loads(outcome.body) == [[1, 2], {"more": True}, {"chain": None}]


@pytest.mark.parametrize("compression", ["application/x-gzip", "zlib", "application/x-bz2"])
def test_new_arguments_are_compressed_like_the_message(compression: str) -> None:
    names = {content_type: name for name, content_type in CONTENT_TYPES.items()}
    job = job_for(1, "again_with", 1, headers={"compression": compression})
    job = job._replace(body=compress(job.body, names.get(compression, compression))[0])
    outcome = run(job)
    assert outcome.body is not None
    assert decode(job, outcome.body, ["msgpack"]).args == (1, 2)


def test_new_arguments_that_cannot_be_sent_fail_the_task() -> None:
    outcome = run(job_for(1, "again_with_unsendable"))
    assert outcome.kind == Kind.FAILED
    assert "can't be sent" in outcome.text


@pytest.mark.parametrize("which", HOSTILE)
def test_error_texts_are_short_and_sendable(which: str) -> None:
    outcome = run(job_for(1, "hostile", which))
    assert outcome.error is not None
    kind, message, trace = outcome.error
    assert len(kind.encode()) <= 256
    assert len(message.encode()) <= trimming.MESSAGE_LIMIT
    assert len(trace.encode()) <= trimming.TRACEBACK_LIMIT


def test_traceback_begins_in_user_code_and_shows_the_cause() -> None:
    def inner() -> None:
        try:
            raise OSError("disk")  # noqa: TRY301
        except OSError as error:
            raise RuntimeError("upload") from error

    app = make_app()
    app.task(name="fails")(inner)
    outcome = Executor(app, "w").run(job_for(1, "fails"))
    assert outcome.error is not None
    trace = outcome.error[2]
    assert trace.startswith("Caused by OSError: disk (")
    assert "execution/executor.py" not in trace
    assert 'raise RuntimeError("upload") from error' in trace
    assert trace.endswith("RuntimeError: upload")


def test_kept_exception_does_not_gather_frames() -> None:
    error = ValueError("one for all")

    def fails() -> None:
        raise error

    app = make_app()
    app.task(name="fails")(fails)
    made = Executor(app, "w")
    traces = {made.run(job_for(key, "fails")).error for key in range(5)}
    assert len(traces) == 1
    assert error.__traceback__ is None


def test_cancelled_coroutine_task_is_failed() -> None:
    app = make_app()
    started = asyncio.Event()

    @app.task(name="waits")
    async def waits() -> None:
        started.set()
        await asyncio.Event().wait()

    async def cancel() -> Outcome:
        task = asyncio.create_task(Executor(app, "w").arun(job_for(1, "waits")))
        await started.wait()
        task.cancel()
        return await task

    outcome = asyncio.run(cancel())
    assert outcome.kind == Kind.FAILED
    assert outcome.error is not None
    assert outcome.error[0].endswith("CancelledError")
