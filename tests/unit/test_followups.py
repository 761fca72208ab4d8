"""What follows from an attempt: records, callbacks, parts of chords; of tasks that ran and of those that did not."""

from __future__ import annotations

import json

import pytest
from memory_backend import MemoryBackend
from shop import read

from amqtask import Amqtask, ResultTooLarge
from amqtask.broker.content import encode_properties
from amqtask.canvas.plan import Plan, Sending
from amqtask.errors import Ignore, Replaced
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


def test_a_members_result_that_fits_no_message_is_refused_where_it_has_to_travel_in_one():
    app = app_of(broker_max_message_size=1000)
    in_queue = {"amqtask_chord": {"queue": "amqtask.chord.g", "size": 2, "deadline": 2e9}}
    for counted, refused in ((in_queue, True), ({}, False)):
        embed = {"chord": sig("add", task_id="body", **counted)}
        member = TaskMessage("quiet", "t1", embed=embed, group="g", group_index=0, ignore_result=True)
        if refused:
            with pytest.raises(ResultTooLarge, match="broker_max_message_size is 1000"):
                success(app, member, "x" * 2000)
        else:
            assert len(success(app, member, "x" * 2000).parts[0].result) > 2000


def test_who_is_ignored_counts_as_failed_in_the_chord_that_waits_for_it_and_nobody_else_hears_of_it():
    app = app_of()
    chord = sig("body", task_id="body")
    last = sig("add", task_id="last", group_id="g", group_index=4, chord=chord)
    member = TaskMessage("add", "t1", embed={"chord": chord, "errbacks": [sig("by_id")]}, group="g", group_index=0)
    step = TaskMessage("add", "t1", embed={"chain": [last, sig("add", task_id="next")]})
    for message, counted in ((member, ("t1", 0)), (step, ("last", 4))):
        after = Followups(app, "here").ignored(job_of(message), message, Ignore("not today"))
        assert (after.messages, after.records) == ((), ())
        (part,) = after.parts
        assert ((part.task_id, part.group_index), part.state) == (counted, "FAILURE")
        assert json.loads(part.result)[3]["exc_type"] == "Ignore"


@pytest.mark.parametrize("name", ["add", "amqtask.chain_more", "celery.chain"])
def test_what_is_replaced_goes_on_in_its_chord(name):
    message = TaskMessage(name, "t1", embed={"chord": sig("body", task_id="body")}, group="g", group_index=0)
    error = Replaced(sig("add")) if name == "add" else Ignore("replaced")
    assert Followups(app_of(), "here").ignored(job_of(message), message, error) is None


def test_an_answer_that_fits_no_message_is_refused():
    app = app_of(broker_max_message_size=1000)
    app.results_backend.by_message = True
    with pytest.raises(ResultTooLarge, match="broker_max_message_size is 1000"):
        success(app, TaskMessage("add", "t1"), "x" * 2000, reply_to="caller")


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


def long_chain(**options):
    named = {"queue": "amqtask.chain.end", "segment": 1, "route": "add"}
    more = sig("amqtask.chain_more", task_id="end", **options)
    return TaskMessage("add", "t1", embed={"chain": [{**more, "kwargs": named}, sig("add", task_id="next")]})


@pytest.mark.parametrize(
    ("by_message", "options", "told"),
    [(False, {}, 1), (True, {"reply_to": "q"}, 1), (True, {}, 0)],
)
def test_the_parked_steps_of_a_chain_that_fails_are_told_when_anybody_hears(by_message, options, told):
    app = app_of()
    app.results_backend.by_message = by_message
    after = failure(app, long_chain(**options), ValueError("no luck"))
    messages = () if after is None else after.messages
    assert [message.properties.headers["task"] for message in messages] == ["amqtask.chain_skip"] * told
    for message in messages:
        _, kwargs, _ = MSGPACK.loads(message.body)
        assert (kwargs["segment"], kwargs["error"]["exc_message"]) == (1, ["no luck"])


def test_a_chain_that_is_revoked_between_two_segments_tells_the_steps_of_the_next():
    message = TaskMessage("amqtask.chain_more", "end", (3,), {"queue": "amqtask.chain.end", "segment": 2})
    lost = Lost(app_of(), "here")
    first, again = (lost.lost(job_of(message), Kind.REVOKED, "terminated", None).messages for _ in range(2))
    (skip,) = first
    assert MSGPACK.loads(skip.body)[1]["segment"] == 2
    assert skip.routing_key == "work", "where the message came from"
    assert again[0].properties.correlation_id == skip.properties.correlation_id


def test_a_step_that_is_skipped_has_a_result_as_its_own_call_and_task_say():
    steps = [sig("add", task_id="c"), sig("quiet", task_id="b"), sig("add", task_id="a", ignore_result=True)]
    failed = TaskMessage("quiet", "t1", embed={"chain": steps})
    assert set(documents(failure(app_of(), failed))) == {"c"}


def test_a_segment_that_is_skipped_is_told_once_and_the_end_of_the_chain_not_again():
    steps = [sig("amqtask.chain_more", task_id="end"), sig("add", task_id="a")]
    message = TaskMessage("amqtask.chain_skipped", "s", embed={"chain": steps}, root_id="end", ignore_result=True)
    app = app_of(task_store_errors_even_if_ignored=True)
    error = {"exc_type": "ValueError", "exc_message": ["no luck"], "exc_module": "builtins"}
    after = Followups(app, "here").skipped(job_of(message), message, error, None)
    assert set(documents(after)) == {"a"}


@pytest.mark.parametrize(("end", "options", "told"), [
    ("heard", {}, True), ("add", {}, False), ("heard", {"ignore_result": True}, False),
    (["no name"], {"ignore_result": False}, True),
])  # fmt: skip
def test_whether_the_end_of_a_long_chain_is_ignored_is_its_own_affair(end, options, told):
    app = app_of(task_ignore_result=True)
    app.task(name="heard", ignore_result=False)(lambda: None)
    message = long_chain(**options)
    message.embed["chain"][0]["kwargs"]["end"] = end
    after = failure(app, message)
    assert ("end" in documents(after)) is told
    job = job_of(TaskMessage("amqtask.chain_more", "end", (), {"end": end}))
    after = Lost(app, "here").lost(job._replace(headers={**job.headers, **options}), Kind.FAILED, "gone", None)
    assert ("end" in documents(after)) is told


@pytest.mark.parametrize("task", ["amqtask.chain_more", "amqtask.chain_skip", "amqtask.chain_skipped"])
def test_what_moves_a_long_chain_goes_where_the_next_step_goes_but_does_not_expire_with_it(task):
    app = app_of(task_default_queue="work")
    app.task(name="brief", expires=10, ignore_result=True, queue="brief")(lambda: None)
    sending = Sending(task, (), {"route": "brief"}, {"task_id": "t", "queue": "work"}, {}, "t")
    (message,) = app.canvas.outgoing(Plan(sendings=[sending]), own_reply=False)
    assert message.properties.expiration is None
    assert not message.properties.headers.get("ignore_result")
    assert message.properties.headers.get("expires") is None


def test_a_chain_that_names_no_segment_is_left_out():
    message = TaskMessage("add", "t1", embed={"chain": [sig("amqtask.chain_more", task_id="end")]})
    assert failure(app_of(), message).messages == ()
    assert (
        Lost(app_of(), "here").lost(job_of(TaskMessage("amqtask.chain_more", "t")), Kind.REVOKED, "", None).messages
        == ()
    )


def chained(**options):
    later = [sig("add", 7, task_id="c2", reply_to="r"), sig("add", 5, task_id="c1", reply_to="r", **options)]
    return TaskMessage("add", "t1", embed={"chain": later})


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 10},
        {"countdown": -5},
        {"queue": "prio", "exchange": "default", "routing_key": "prio"},
        {"time_limit": 5, "soft_time_limit": 10},
        {"countdown": 5, "eta": "2030-01-01T00:00:00+00:00"},
        {"countdown": 400 * 86_400},
        {"headers": {"id": "another"}},
        {"headers": {"share": 1.5, "shares": [{"one": 0.25}]}},
        {"stamped_headers": 5},
        {"stamped_headers": [["a"], "b"], "b": 1},
    ],
)
def test_options_that_celery_takes_do_not_keep_the_next_step_from_being_sent(options):
    (sent,) = success(app_of(), chained(**options)).messages
    assert sent.properties.headers["id"] == "c1"
    assert sent.properties.priority == options.get("priority", 0)


@pytest.mark.parametrize(
    "options",
    [
        {"priority": "high"},
        {"countdown": "soon"},
        {"countdown": 1e12},
        {"expires": 1e12},
        {"compression": "none such"},
        {"compression": 5},
        {"serializer": 5},
        {"queue": "q" * 300},
        {"exchange": 5},
        {"headers": {"a": 2**70}},
        {"headers": {"a" * 300: 1}},
        {"headers": {"a": "\ud800"}},
        {"headers": {"\ud800": 1}},
    ],
    ids=repr,
)
def test_a_step_that_cannot_be_sent_fails_and_the_task_before_it_does_not(options, caplog):
    after = success(app_of(), chained(**options))
    found = documents(after)
    assert {task_id: one["status"] for task_id, one in found.items()} == {
        "t1": "SUCCESS",
        "c1": "FAILURE",
        "c2": "FAILURE",
    }
    (dead,) = after.messages
    headers = dead.properties.headers
    assert (dead.exchange, dead.routing_key, headers["x-amqtask-reason"]) == ("", "work.dead", "unsendable")
    assert encode_properties(dead.properties)
    assert (read(dead).id, read(dead).args) == ("c1", (3, 5))
    assert "Task add[c1] can't be sent after add" in caplog.text


def test_one_callback_that_cannot_be_sent_keeps_no_other_back():
    links = [sig("add", 5, task_id="c1", priority="high"), sig("add", 6, task_id="c2")]
    after = success(app_of(), TaskMessage("add", "t1", embed={"callbacks": links}))
    assert [one.properties.headers["id"] for one in after.messages if not one.routing_key.endswith(".dead")] == ["c2"]
    assert documents(after)["c1"]["status"] == "FAILURE"


def test_a_member_that_cannot_be_sent_fails_its_chord():
    header = [sig("add", 1, task_id="m1"), sig("add", 2, task_id="m2", priority="high")]
    body = sig("sum", task_id="body", reply_to="r")
    kwargs = {"header": header, "body": body}
    chord = {**sig("celery.chord", task_id="body"), "kwargs": kwargs, "subtask_type": "chord"}
    after = success(app_of(), TaskMessage("add", "t1", embed={"chain": [chord]}))
    assert "m1" in [one.properties.headers["id"] for one in after.messages]
    assert len(after.chords) == 1
    assert [(part.task_id, part.state) for part in after.parts] == [("m2", "FAILURE")]
