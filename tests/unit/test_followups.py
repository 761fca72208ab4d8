"""What follows from an attempt: records, callbacks, parts of chords; of tasks that ran and of those that did not."""

from __future__ import annotations

import json

import pytest
from memory_backend import MemoryBackend

from amqtask import Amqtask, ResultTooLarge
from amqtask.execution.followups import Followups
from amqtask.execution.job import Job, Kind
from amqtask.execution.lost import Lost
from amqtask.wire.message import TaskMessage
from amqtask.wire.serializers.msgpack import SERIALIZER as MSGPACK


class App:
    """An app whose backend is in memory."""

    def __init__(self, **settings):
        self._app = Amqtask("followups", broker="amqp://nobody@127.0.0.1:1/", **settings)
        self.results_backend = MemoryBackend()

    def __getattr__(self, name):
        return getattr(self._app, name)


def app_of(**settings):
    app = App(**settings)
    app.task(name="add")(lambda x, y: x + y)
    app.task(name="quiet", ignore_result=True)(lambda: None)
    return app


def job_of(message, body=None, reply_to=None):
    headers = {"task": message.task, "id": message.id}
    if body is None:
        body = json.dumps([message.args, message.kwargs, message.embed]).encode()
    return Job(
        1, "work", "", "work", False, 0, "application/json", "utf-8", message.id, reply_to, "m", 0, headers, body
    )


def sig(task, *args, **options):
    return {"task": task, "args": args, "kwargs": {}, "options": options, "subtask_type": None, "immutable": False}


def success(app, message, value=3, **more):
    return Followups(app, "here").success(job_of(message, **more), message, value, 0.5)


def failure(app, message, error=None):
    return Followups(app, "here").failure(job_of(message), message, error or ValueError("no luck"))


def documents(after):
    return {record.task_id: json.loads(record.document) for record in after.records}


def test_a_result_is_stored_with_what_is_known_of_the_task():
    message = TaskMessage("add", "t1", retries=2, group="g", parent_id="p")
    (document,) = documents(success(app_of(), message)).values()
    assert document["status"] == "SUCCESS"
    assert (document["result"], document["runtime"], document["worker"], document["queue"]) == (3, 0.5, "here", "work")
    assert (document["name"], document["retries"], document["group_id"], document["parent_id"]) == ("add", 2, "g", "p")
    assert "args" not in document


def test_without_result_extended_a_document_is_lean():
    (document,) = documents(success(app_of(result_extended=False), TaskMessage("add", "t1"))).values()
    assert set(document) == {"status", "result", "traceback", "children", "date_done", "task_id"}


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        (TaskMessage("quiet", "t1"), {}),
        (TaskMessage("add", "t1", ignore_result=True), {}),
        (TaskMessage("add", "t1"), {"task_ignore_result": True}),
    ],
)
def test_nothing_follows_when_nobody_asks(message, settings):
    assert success(app_of(**settings), message) is None
    assert failure(app_of(**settings), message) is None
    kept = failure(app_of(**settings, task_store_errors_even_if_ignored=True), message)
    assert documents(kept)["t1"]["status"] == "FAILURE"


def test_the_callers_word_wins_over_the_tasks():
    assert success(app_of(), TaskMessage("quiet", "t1", ignore_result=False)) is not None


def test_callbacks_are_sent_before_the_result_that_names_them_as_children():
    message = TaskMessage("add", "t1", embed={"callbacks": [sig("add", 5, task_id="c1")]})
    after = success(app_of(), message)
    (sent,) = after.messages
    assert (sent.properties.headers["id"], sent.properties.headers["parent_id"]) == ("c1", "t1")
    assert documents(after)["t1"]["children"] == [[["c1", None], None]]


def test_what_follows_twice_has_the_same_ids():
    message = TaskMessage("add", "t1", embed={"callbacks": [sig("add", 5), sig("add", 6)]})
    ids = [[one.properties.headers["id"] for one in success(app_of(), message).messages] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


def test_what_follows_answers_to_the_caller():
    message = TaskMessage("add", "t1", embed={"callbacks": [sig("add", 5)]})
    (sent,) = success(app_of(), message, reply_to="caller").messages
    assert sent.properties.reply_to == "caller"


def test_a_failure_is_that_of_every_later_step_and_of_its_chord():
    body = sig("add", task_id="body")
    last = sig("add", task_id="last", reply_to="r", chord=body, group_id="g", group_index=4)
    message = TaskMessage("add", "t1", embed={"chain": [last, sig("add", task_id="next", reply_to="r")]})
    after = failure(app_of(), message)
    found = documents(after)
    assert sorted(found) == ["last", "next", "t1"]
    assert {one["result"]["exc_type"] for one in found.values()} == {"ValueError"}
    (part,) = after.parts
    assert (part.task_id, part.group_id, part.group_index, part.state) == ("last", "g", 4, "FAILURE")


def test_errbacks_get_the_exception_or_the_id(caplog):
    app, seen = app_of(), []
    app.task(name="by_id")(lambda task_id: None)
    app.task(name="direct")(lambda request, error, traceback: seen.append((request.id, repr(error))))
    app.task(name="broken")(lambda request, error, traceback: 1 / 0)
    message = TaskMessage("add", "t1", embed={"errbacks": [sig("by_id"), sig("direct"), sig("broken")]})
    (sent,) = failure(app, message).messages
    assert sent.properties.headers["task"] == "by_id"
    assert seen == [("t1", "ValueError('no luck')")]
    assert "Errback broken of add[t1] failed" in caplog.text


def test_a_result_beyond_the_limit_is_refused_and_a_failure_is_cut():
    app = app_of(result_max_size=1000)
    with pytest.raises(ResultTooLarge):
        success(app, TaskMessage("add", "t1"), "x" * 2000)
    (document,) = documents(failure(app, TaskMessage("add", "t1"), ValueError("x" * 5000))).values()
    assert document["result"]["exc_type"] == "ValueError"


@pytest.mark.parametrize(
    ("kind", "state", "error"),
    [
        (Kind.FAILED, "FAILURE", "WorkerLost"),
        (Kind.EXPIRED, "REVOKED", "TaskRevoked"),
        (Kind.UNKNOWN_TASK, "DEAD", "UnknownTask"),
        (Kind.REFUSED, "DEAD", "ContentRefused"),
    ],
)
def test_of_a_task_that_never_ended_the_state_says_why(kind, state, error):
    message = TaskMessage("add", "t1", embed={"chain": [sig("add", task_id="next")]})
    after = Lost(app_of(), "here").lost(job_of(message), kind, "text", None)
    found = documents(after)
    assert (found["t1"]["status"], found["t1"]["result"]["exc_type"]) == (state, error)
    assert found["next"]["status"] == "FAILURE"


def test_errbacks_of_a_lost_task_are_called_by_a_task_of_their_own():
    app, seen = app_of(), []
    app.task(name="direct")(lambda request, error, traceback: seen.append((request.id, repr(error))))
    message = TaskMessage("add", "t1", embed={"errbacks": [sig("direct")]})
    after = Lost(app, "here").lost(job_of(message), Kind.FAILED, "gone", None)
    (sent,) = after.messages
    assert (sent.properties.headers["task"], seen) == ("amqtask.errback", [])
    _, kwargs, _ = MSGPACK.loads(sent.body)
    app.tasks["amqtask.errback"](**kwargs)
    assert seen == [("t1", "WorkerLost('gone')")]


def test_celerys_clients_are_told_in_celerys_words():
    app = app_of(interop="celery")
    after = Lost(app, "here").lost(job_of(TaskMessage("no.such", "t1")), Kind.UNKNOWN_TASK, "no.such", None)
    document = documents(after)["t1"]
    assert document["status"] == "FAILURE"
    assert (document["result"]["exc_module"], document["result"]["exc_type"]) == ("celery.exceptions", "NotRegistered")


def test_of_a_message_that_cannot_be_read_the_headers_tell_enough():
    after = Lost(app_of(), "here").lost(job_of(TaskMessage("add", "t1"), body=b"\x00"), Kind.UNDECODABLE, "no", None)
    assert documents(after)["t1"]["status"] == "DEAD"
    nameless = job_of(TaskMessage("add", "t1"), body=b"\x00")._replace(headers={})
    assert not any(Lost(app_of(), "here").lost(nameless, Kind.UNDECODABLE, "no", None))
