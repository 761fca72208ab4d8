"""Whatever a message carries as its canvas: it is refused before the task runs, or what follows can be carried out."""

from __future__ import annotations

import contextlib
import json
import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amqtask import Amqtask
from amqtask.broker.content import seal
from amqtask.broker.interface import ConnectionOptions
from amqtask.errors import EncodeError
from amqtask.execution.executor import Executor
from amqtask.execution.job import Job, Kind
from amqtask.execution.lost import Lost
from amqtask.worker.followups.answers import answer

OPTIONS = ConnectionOptions()
KEYS = [
    "task",
    "args",
    "kwargs",
    "options",
    "subtask_type",
    "immutable",
    "tasks",
    "header",
    "body",
    "task_id",
    "reply_to",
]
KEYS += ["link", "link_error", "chain", "chord", "group_id", "group_index", "ignore_result", "stamped_headers", "queue"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["", "x", "add", "\ud800", "q" * 300])
)
LEAVES |= st.sampled_from(["chain", "group", "chord", "celery.chain", "amqtask.chain_more"])
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["add", "fail", "celery.chain"])


def mostly(value):
    """This, and now and then anything."""
    return st.integers(0, 30).flatmap(lambda number: value if number else ANYTHING)


def signatures(inner):
    one, several = inner | st.none(), st.lists(inner, max_size=2)
    options = {
        "task_id": mostly(st.sampled_from(["x", "y"])),
        "reply_to": mostly(st.just("r")),
        "group_id": mostly(st.just("g")),
        "chord": one,
        "chain": several,
        "link_error": one | several,
        "priority": mostly(st.just(3)),
    }
    members = st.fixed_dictionaries({}, optional={"tasks": mostly(several), "header": one | several, "body": one})
    return mostly(
        st.fixed_dictionaries(
            {"task": NAMES, "options": mostly(st.fixed_dictionaries({}, optional=options)), "kwargs": mostly(members)},
            optional={
                "args": mostly(st.just([])),
                "subtask_type": mostly(st.sampled_from([None, "chain", "group", "chord"])),
            },
        )
    )


PLAIN = st.just({"task": "add", "options": {"task_id": "z", "group_id": "g"}})
SIGNATURES = st.recursive(PLAIN, signatures, max_leaves=5)
EMBEDS = st.dictionaries(
    st.sampled_from(["callbacks", "errbacks", "chain", "chord"]), mostly(SIGNATURES | st.lists(SIGNATURES, max_size=3))
)


@pytest.fixture(scope="module")
def runs():
    """An executor, what settles without one, and the names of the tasks that have run."""
    app = Amqtask("x", result_backend="rpc://", result_extended=False)
    ran = []

    @app.task(name="add")
    def add(*args, **kwargs):
        ran.append("add")

    @app.task(name="fail")
    def fail(*args, **kwargs):
        ran.append("fail")
        raise ValueError("no")

    logging.disable(logging.CRITICAL)
    yield Executor(app, "w@h"), Lost(app, "w@h"), ran
    logging.disable(logging.NOTSET)


def step(**options):
    return [{"task": "add", "args": [], "kwargs": {}, "options": {"task_id": "x", **options}}]


@given(st.sampled_from(["add", "fail", "unknown"]), st.booleans(), EMBEDS)
@example("fail", False, {"chain": step(reply_to=5)})
@example("fail", True, {"chain": step(reply_to={"a": 1})})
@example("unknown", False, {"chain": step(reply_to=5)})
@example("add", False, {"chain": ["x"]})
@example("add", True, {"errbacks": ["x"]})
@example("add", False, {"chain": [{"task": "add", "options": [1]}]})
@example("add", False, {"chain": [{"task": "celery.chain", "subtask_type": "chain", "options": {}, "kwargs": None}]})
@example("fail", False, {"chain": step(task_id="\ud800")})
@example("fail", False, {"chain": step(task_id=["x"])})
def test_no_canvas_harms_a_worker(runs, task, expired, embed):
    executor, lost, ran = runs
    ran.clear()
    headers = {"task": task, "id": "i", **({"expires": "2020-01-01T00:00:00+00:00"} if expired else {})}
    body = json.dumps([[], {}, embed]).encode()
    job = Job(1, "q", "", "q", False, 0, "application/json", "utf-8", "i", "caller", "m", 0, headers, body)
    outcome = executor.run(job)
    if outcome.kind == Kind.UNDECODABLE:
        assert ran == []
    after = outcome.after or lost.lost(job, Kind(outcome.kind), outcome.text, outcome.error)
    answers = [answer(record, persistent=True) for record in after.records]
    for message in (*after.messages, *filter(None, answers)):
        with contextlib.suppress(EncodeError):
            seal(message, OPTIONS)
    for record in after.records:
        record.task_id.encode()
    for part in after.parts:
        (part.group_id + part.task_id).encode()
