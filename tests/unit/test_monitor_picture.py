"""The monitor's picture of tasks and workers, made of events that anybody may have sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from celery.events.state import State as CelerysState

from amqtask import Amqtask, clock
from amqtask.app.schedules import Scheduled
from amqtask.events.history import OFFSET, Place
from amqtask.monitor.collector import Collector
from amqtask.monitor.dead import DeadDesk
from amqtask.monitor.intake import tamed
from amqtask.monitor.options import Options
from amqtask.monitor.picture import Picture, UnknownPage, as_flower
from amqtask.monitor.source import Source, schedule_of
from amqtask.schedules.entry import read_entry
from amqtask.wire.message import Properties


@pytest.fixture
def collector():
    return Collector(Amqtask("m", broker="amqp://nowhere/"), Options(max_tasks=100))


def event(kind, uuid="t1", at=0.0, **fields):
    when = clock.wall() - 600 + at
    return {
        "type": kind, "uuid": uuid, "hostname": "w1", "timestamp": when, "local_received": when, "clock": int(at),
        **fields,
    }  # fmt: skip


def life(uuid, at, name="add"):
    return [
        event("task-received", uuid, at, name=name, args="(1,)", kwargs="{}", queue="work"),
        event("task-started", uuid, at + 0.1),
        event("task-succeeded", uuid, at + 0.2, result="2", runtime=0.1),
    ]


def feed(collector, *events):
    for one in events:
        collector._take(one)
    return Picture(collector)


def page(picture, **wanted):
    given = {"state": None, "name": None, "worker": None, "search": None, "limit": 50, "before": None}
    return picture.page(**(given | wanted))


def test_tasks_come_newest_first_and_page_by_page(collector):
    picture = feed(collector, *(one for number in range(7) for one in life(f"t{number}", number)))
    first = page(picture, limit=3)
    second = page(picture, limit=3, before=first.more)
    last = page(picture, limit=3, before=second.more)
    assert [row.id for part in (first, second, last) for row in part.rows] == [f"t{n}" for n in range(6, -1, -1)]
    assert (first.total, last.more) == (7, None)
    with pytest.raises(UnknownPage):
        page(picture, before="nonsense")


def test_a_new_task_does_not_move_the_pages_that_are_read(collector):
    picture = feed(collector, *(one for number in range(4) for one in life(f"t{number}", number)))
    first = page(picture, limit=2)
    picture = feed(collector, *life("new", 50))
    assert [row.id for row in page(picture, limit=2, before=first.more).rows] == ["t1", "t0"]


def test_the_latest_failure_comes_first_however_long_its_task_has_run(collector):
    feed(collector, *life("slow", 1)[:2], *life("quick", 5)[:2])
    feed(
        collector, event("task-failed", "quick", 6, exception="E()"), event("task-failed", "slow", 300, exception="E()")
    )
    app = Amqtask("m", broker="amqp://nowhere/")
    overview = Source(app, collector, DeadDesk(app)).overview()
    assert [row.id for row in overview.failures] == ["slow", "quick"]
    assert [row.id for row in overview.recent] == ["quick", "slow"]


def test_a_periodic_task_that_nobody_sends_is_due_in_the_past():
    now = clock.utcnow()
    last, following = now - timedelta(minutes=5), now + timedelta(seconds=9)
    entry = read_entry("s", {"task": "t", "schedule": 20.0}, UTC)
    late = Scheduled(entry, last, following, runs=3, added=False)
    assert schedule_of(late).next == pytest.approx(last.timestamp() + 20)
    assert schedule_of(replace(late, running_since=last)).next == following.timestamp()
    assert schedule_of(replace(late, last=None)).next == following.timestamp()


def test_tasks_are_found_by_what_they_are(collector):
    failed = event("task-failed", "bad", 5, exception="ValueError('Kaputt')", traceback="...")
    picture = feed(collector, *life("good", 1), *life("bad", 2, "break")[:2], failed)
    assert [row.id for row in page(picture, state="FAILURE").rows] == ["bad"]
    assert [row.id for row in page(picture, name="add").rows] == ["good"]
    assert [row.id for row in page(picture, search="kaputt").rows] == ["bad"]
    assert page(picture, worker="w2").rows == ()
    everything = page(picture)
    assert (everything.names, everything.workers) == (("add", "break"), ("w1",))
    assert everything.states == {"SUCCESS": 1, "FAILURE": 1}
    assert sum(one.succeeded for one in collector.minutes()) == 1
    assert sum(one.failed for one in collector.minutes()) == 1
    assert len(collector.minutes()) == 60


def test_a_task_shows_its_whole_life(collector):
    child = event("task-received", "c", 3, name="sub", parent_id="t1", root_id="t1")
    picture = feed(collector, *life("t1", 1), child)
    detail = picture.detail("t1")
    assert [name for name, _ in detail.times] == ["received", "started", "succeeded"]
    assert detail.ended
    assert (detail.row.result, detail.row.queue, detail.row.worker) == ("2", "work", "w1")
    assert [row.id for row in detail.children] == ["c"]
    assert (picture.detail("c").parent, picture.detail("c").root, picture.detail("c").ended) == ("t1", "t1", False)
    assert picture.detail("unknown") is None


def test_what_the_history_no_longer_has_is_not_shown(collector):
    """Else a monitor that has run for a week would show more than the one beside it."""
    collector.age = 300.0
    picture = feed(collector, *life("old", 0), *life("young", 400))
    assert [row.id for row in page(picture).rows] == ["young"]


GARBAGE = [
    {"type": "task-received"},
    {"type": "task-received", "uuid": 5, "hostname": "w1"},
    {"type": "task-received", "uuid": "x" * 300, "hostname": "w1"},
    {"type": "task-received", "uuid": "u", "hostname": ["w1"]},
    {"type": "worker-heartbeat"},
]


@pytest.mark.parametrize("one", GARBAGE)
def test_what_is_no_event_leaves_nothing_behind(collector, one):
    feed(collector, one)
    assert not collector.state.tasks
    assert not collector.state.workers


@pytest.mark.parametrize("value", [None, True, float("nan"), float("inf"), 10**400, [[]], {}, "<b>" * 5000, -1, "\0"])
def test_fields_of_any_kind_can_be_shown(collector, value):
    names = ["name", "args", "kwargs", "timestamp", "clock", "runtime", "retries", "exception", "result", "queue"]
    names += ["traceback", "root_id", "parent_id", "eta", "loadavg", "active", "freq", "pid", "state"]
    fields = dict.fromkeys(names, value)
    feed(collector, {"type": "worker-heartbeat", "hostname": "w1", **fields})
    for kind in ("sent", "received", "started", "failed", "retried", "succeeded", "dead", "no-such-thing"):
        picture = feed(collector, {"type": f"task-{kind}", "uuid": "u", "hostname": "w1", **fields})
    (row,) = page(picture).rows
    assert row.id == "u"
    assert len(row.name or "") <= 2000
    picture.detail("u")
    picture.workers()
    collector.health, collector.minutes()


def test_names_that_mean_something_to_python_change_nothing(collector):
    hostile = dict.fromkeys(("event", "__class__", "_tasks", "worker", "ready", "children", "as_dict"), "x")
    picture = feed(collector, *life("t", 1), event("task-succeeded", "t", 2, **hostile))
    assert picture.detail("t").ended
    assert as_flower(collector.state.tasks["t"])["worker"] == "w1"


def test_only_the_latest_tasks_are_kept(collector):
    picture = feed(collector, *(one for number in range(150) for one in life(f"t{number}", number)))
    assert page(picture, limit=500).total == 100
    assert collector.health.kept_tasks == 100


def test_a_task_is_told_to_programs_as_flower_does(collector):
    """Flower's answers are Celery's Task.as_dict."""
    celerys = CelerysState()
    for one in life("t1", 1):
        celerys.event(dict(one))
        collector._take(one)
    theirs = celerys.tasks["t1"].as_dict() | {"worker": "w1"}
    ours = as_flower(collector.state.tasks["t1"])
    assert theirs.keys() <= ours.keys()
    assert {key for key in theirs if theirs[key] != ours[key]} == set()


def test_texts_are_cut_and_tables_are_left_out():
    plain = tamed(event("task-failed", traceback="x" * 50_000, args="y" * 5000, more={"a": 1}, load=[1]))
    assert (len(plain["traceback"]), len(plain["args"])) == (20_000, 2000)
    assert plain.keys() & {"more", "load"} == set()


def test_only_what_is_shown_is_kept_of_an_event(collector):
    """Else each event could add fields to a task, without end."""
    picture = feed(collector, *life("t", 1), *(event("task-started", "t", 2, **{f"x{n}": "y"}) for n in range(100)))
    assert picture.detail("t").row.result == "2"
    assert not [name for name in vars(collector.state.tasks["t"]) if name.startswith("x")]


def test_text_that_can_not_be_written_as_utf_8_can_be_shown(collector):
    """JSON can say half a character, and then every page with it would fail."""
    picture = feed(collector, event("task-received", "u\ud800", hostname="\ud800", name="\udfff", args="(\ud800)"))
    (row,) = page(picture).rows
    "".join([row.id, row.name, row.args, row.worker, *picture.names()]).encode()


class TestPlace:
    def at(self, offset):
        return Properties("application/json", None, {OFFSET: offset})

    def test_a_reader_goes_on_where_it_was(self):
        place = Place("first")
        assert place.start(100.0) == "first"
        assert place.take(self.at(4))
        assert place.start(100.0) == 4
        assert not place.heard
        assert not place.take(self.at(4))
        assert place.heard, "so it is the same stream"
        assert place.take(self.at(5))
        place.again()
        assert place.start(100.0) == "first"

    def test_all_that_was_there_has_been_read_once_its_end_is_reached(self):
        place = Place("first")
        place.start(100.0)
        place.see_end(self.at(7))
        place.see_end(self.at(8))
        place.end_seen()
        for offset in (6, 7, 8):
            place.take(self.at(offset))
            assert place.received(50.0, 200.0) == 50.0
            place.taken()
        assert not place.behind
        assert place.received(50.0, 200.0) == 200.0

    def test_an_empty_stream_has_no_past(self):
        place = Place("first")
        place.start(100.0)
        assert place.behind
        place.end_seen()
        assert not place.behind

    def test_an_event_of_now_tells_so_too(self):
        place = Place("first")
        place.start(100.0)
        assert place.received(99.0, 200.0) == 99.0
        assert place.received(float("nan"), 200.0) == 200.0
        assert place.received(300.0, 200.0) == 200.0  # a clock ahead of ours
        assert not place.behind
