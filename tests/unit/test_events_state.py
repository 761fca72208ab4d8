"""The picture of a cluster that events give: the same as Celery's, whatever comes in whatever order."""

from __future__ import annotations

import itertools
import random

import pytest
from celery.events.state import State as CeleryState

from amqtask.events.snapshot import Polaroid
from amqtask.events.state import State

NODE = "w1@here"


def event(kind, uuid="a", tick=1, **more):
    base = {"type": kind, "hostname": NODE, "clock": tick, "timestamp": 100.0 + tick, "local_received": 100.0 + tick}
    return {**base, **({"uuid": uuid} if kind.startswith("task-") else {"pid": 7}), **more}


RECEIVED = event("task-received", tick=1, name="add", args="(1,)", kwargs="{}", retries=0, root_id="a", parent_id=None)
LIFE = [
    RECEIVED,
    event("task-started", tick=2),
    event("task-retried", tick=3, exception="E()", traceback="tb"),
    event("task-succeeded", tick=4, result="2", runtime=0.5),
]
OTHERS = [
    event("task-failed", tick=4, exception="ValueError('no')", traceback="tb"),
    event("task-revoked", tick=4, terminated=False, signum=None, expired=True),
    event("task-rejected", tick=4, requeue=False),
    event("task-dead", tick=5, reason="failed"),
]


@pytest.mark.parametrize("last", [LIFE[-1], *OTHERS], ids=lambda one: one["type"])
def test_whatever_the_order_of_events_a_task_looks_as_in_celerys_state(last):
    for order in itertools.permutations([*LIFE[:3], last]):
        ours, theirs = State(), CeleryState()
        for one in order:
            ours.event(dict(one))
            theirs.event(dict(one))
        mine, other = ours.tasks["a"], theirs.tasks["a"]
        names = (
            "state",
            "name",
            "args",
            "result",
            "exception",
            "received",
            "started",
            "failed",
            "timestamp",
            "runtime",
        )
        assert {name: getattr(mine, name) for name in names} == {name: getattr(other, name) for name in names}, order
        assert mine.info() == other.info()


def test_a_worker_is_alive_for_two_of_its_intervals_and_leaves_with_its_goodbye(monkeypatch):
    joined, left = [], []
    state = State(on_node_join=lambda one: joined.append(one.hostname), on_node_leave=lambda one: left.append(one.pid))
    state.event(event("worker-online", tick=1, freq=2.0, active=0, sw_ident="amqtask"))
    worker = state.workers[NODE]
    monkeypatch.setattr("amqtask.clock.wall", lambda: 104.9)
    assert worker.alive
    assert list(state.alive_workers()) == [worker]
    monkeypatch.setattr("amqtask.clock.wall", lambda: 105.1)
    assert not worker.alive
    state.event(event("worker-heartbeat", tick=9, freq=2.0, active=3))
    assert (worker.active, worker.alive, worker.status_string) == (3, True, "ONLINE")
    state.event(event("worker-offline", tick=10))
    assert not state.workers
    assert (joined, left) == ([NODE], [7])


def test_tasks_come_in_the_order_of_the_logical_clock():
    state = State()
    ticks = list(range(30))
    random.Random(4).shuffle(ticks)
    for tick in ticks:
        state.event(event("task-received", uuid=f"t{tick}", tick=tick, name="even" if tick % 2 == 0 else "odd"))
    assert [uuid for uuid, _ in state.tasks_by_time()] == [f"t{tick}" for tick in reversed(range(30))]
    assert [uuid for uuid, _ in state.tasks_by_time(limit=2, reverse=False)] == ["t0", "t1"]
    assert [uuid for uuid, _ in state.tasks_by_type("even", limit=2)] == ["t28", "t26"]
    assert len(state.tasks_by_type["odd"]) == 15
    assert len(list(state.tasks_by_worker(NODE))) == 30
    assert state.task_types() == ["even", "odd"]


def test_memory_is_bounded_and_the_oldest_goes_first():
    state = State(max_tasks_in_memory=10, max_workers_in_memory=2)
    for number in range(1000):
        more = {"name": "add", "hostname": f"w{number % 5}", "parent_id": "p"}
        state.event(event("task-received", uuid=f"t{number}", tick=number, **more))
    assert list(state.tasks) == [f"t{number}" for number in range(990, 1000)]
    assert len(state.workers) == 2
    assert len(state.tasks_by_type["add"]) == 10
    assert len(state._moments) <= 40
    assert sum(len(tasks) for tasks in state.tasks_by_worker.values()) == 10
    assert len(state._families) == 1
    assert len(state._families["p"]) == 10


def test_a_task_that_says_something_else_each_time_leaves_nothing_behind():
    """Anybody can publish events."""
    state = State(max_tasks_in_memory=10)
    for number in range(1000):
        more = {"name": f"n{number}", "hostname": f"w{number}", "parent_id": f"p{number}"}
        state.event(event("task-received", tick=number, **more))
    assert len(state.tasks_by_type) == len(state.tasks_by_worker) == len(state._families) == 1
    assert len(state.task_types()) == 10
    state.clear_tasks(ready=False)
    assert not state.tasks_by_type
    assert not state.tasks_by_worker
    assert not state._families


def test_a_task_knows_its_parent_its_root_and_its_children():
    state = State()
    state.event(event("task-received", uuid="child", tick=2, name="c", root_id="top", parent_id="top"))
    state.event(event("task-received", uuid="top", tick=1, name="t", root_id="top"))
    top, child = state.tasks["top"], state.tasks["child"]
    assert (child.parent, child.root, top.children) == (top, top, {child})
    assert child.as_dict()["worker"] == NODE


def test_events_can_set_fields_but_nothing_that_the_state_lives_by():
    state = State()
    state.event(
        event("task-received", uuid="a", name="add", event="x", info=1, children=2, parent=3, _tasks=4, state=5)
    )
    state.event(event("worker-heartbeat", heartbeats=7, alive=8, freq="often", loadavg="high"))
    task, worker = state.tasks["a"], state.workers[NODE]
    assert (task.state, task.info(), task.parent) == ("RECEIVED", {}, None)
    assert (worker.alive, len(worker.heartbeats)) == (False, 2)
    odd_values = {"name": [], "parent_id": {}, "root_id": [1], "clock": "x", "timestamp": [], "worker": 3}
    for uuid in ("a", "c"):
        state.event({**event("task-received", uuid=uuid), **odd_values})
    assert state.tasks["c"].parent is state.tasks["c"].root is None
    state.clear_tasks(ready=False)
    assert not state.tasks
    for odd in ({"type": "task-x"}, {"type": "worker-x"}, {"type": "x"}, {"type": "task-x", "uuid": [], "hostname": 1}):
        state.event(odd)
    assert state.event_count == 8


def test_clearing_forgets_what_has_ended():
    state = State()
    state.event(dict(RECEIVED))
    state.event(event("task-received", uuid="b", tick=2, name="add"))
    state.event(event("task-succeeded", uuid="b", tick=3))
    state.clear_tasks()
    assert list(state.tasks) == ["a"]
    state.clear(ready=False)
    assert not state.tasks
    assert not state.workers
    assert not state.tasks_by_type


def test_a_camera_takes_a_last_picture_and_forgets_what_has_ended():
    taken = []

    class Camera(Polaroid):
        clear_after = True

        def on_shutter(self, state):
            taken.append(list(state.tasks))

    state = State()
    with Camera(state, freq=60):
        state.event(dict(RECEIVED))
        state.event(event("task-succeeded", tick=2))
    assert taken == [["a"]]
    assert not state.tasks
