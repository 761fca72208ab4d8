"""Periodic tasks in a table: changed by calls and by hand while schedulers run, with a database that fails."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from threading import Event

import pytest
from beats import beating, judged, leads, taken
from waiting import wait_for

from amqtask import Amqtask, BackendError, ConfigError, Queue, crontab
from amqtask.app import schedule_log
from amqtask.beat import follower, leader
from amqtask.beat.service import start_beat
from amqtask.broker.admin import Admin
from amqtask.config.zones import zone
from amqtask.errors import BrokerUnavailable, UnknownEntry
from amqtask.wire.ids import new_id

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Looks at the table more often, so that the tests need not wait."""
    monkeypatch.setattr(follower, "_EVERY", 0.02)
    monkeypatch.setattr(follower, "_AGAIN", 0.02)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "schedules.sqlite"


@pytest.fixture
def name():
    """Of the app, and of the queue of its tasks."""
    return f"beats-{new_id()}"


@pytest.fixture
def make(broker_url, file, name):
    apps = []

    def app(schedule=None, **settings):
        usual = {"task_queues": [Queue(name, type="classic")], "task_default_queue": name}
        store = {"beat_schedule_store": f"db+sqlite:///{file}"}
        apps.append(Amqtask(name, broker=broker_url, beat_schedule=schedule or {}, **{**usual, **store, **settings}))
        return apps[-1]

    yield app
    with Admin(apps[0].broker_urls, apps[0].connection_options) as admin:
        for queue in (name, f"amqtask.beat.{name}"):
            admin.delete_queue(queue)
    for one in apps:
        one.close()


@pytest.fixture
def by_hand(file):
    """Does this in the database."""

    def run(statement):
        with closing(sqlite3.connect(file, timeout=60)) as connection, connection:
            return connection.execute(statement).fetchall()

    return run


def declared(**more):
    return {"tick": {"task": "tick", "schedule": 3600, **more}}


def test_what_is_added_changed_and_removed_is_a_row_that_the_scheduler_follows(make, by_hand, name):
    app = make(declared())
    app.schedules.add("often", "tick", 0.1, args=["added"], queue=name)  # nobody is there yet
    (listed,) = (one for one in app.schedules.list() if one.added)
    assert (listed.name, listed.pending) == ("often", True)
    with beating(app) as beat:
        wait_for(lambda: beat.pulse.sent_count > 2)
        app.schedules.pause("tick")
        app.schedules.update("often", schedule="@daily", tz="Europe/Berlin")
        wait_for(lambda: not beat.leader.entries["tick"].enabled)
        wait_for(lambda: beat.leader.entries["often"].schedules[0] == crontab(0, 0, tz=zone("Europe/Berlin")))
        assert by_hand("SELECT name, schedule, tz, args, enabled FROM amqtask_schedules ORDER BY id") == [
            ("often", "0 0 * * *", "Europe/Berlin", '["added"]', None), ("tick", None, None, None, 0),
        ]  # fmt: skip
        listed = {one.name: one for one in app.schedules.list()}
        assert (listed["tick"].next, listed["often"].pending) == (None, False)
        app.schedules.resume("tick")
        app.schedules.remove("often")
        wait_for(lambda: list(beat.leader.entries) == ["tick"])
        wait_for(lambda: beat.leader.entries["tick"].enabled)
    assert {name for name, _ in taken(app)} == {"often"}


def test_rows_are_written_by_hand_and_a_bad_one_does_not_hurt_the_others(make, by_hand, name, caplog):
    app = make()
    assert app.schedules.list() == []  # the table is there now
    by_hand(
        "INSERT INTO amqtask_schedules (app, name, task, schedule, args, enabled) VALUES "
        f"('{name}', 'good', 'tick', '100ms', '[1]', 1), ('{name}', 'bad', 'tick', '5 parsecs', NULL, 1), "
        f"('{name}', 'blob', 'tick', '1h', x'ff', 1), ('{name}', 'latin', 'tick', '1h', CAST(x'ff' AS TEXT), 1), "
        f"('{name}', 'odd', 'tick', '1h', NULL, 'perhaps'), "
        "('other', 'foreign', 'tick', '1s', NULL, 1)"
    )
    with beating(app) as beat:
        wait_for(lambda: beat.pulse.sent_count > 1)
        assert list(beat.leader.entries) == ["good"]
        for row, column in (("bad", "crontab"), ("blob", "'args'"), ("latin", "'args'"), ("odd", "'enabled'")):
            assert f"table amqtask_schedules: periodic task '{row}': {column}" in caplog.text
        by_hand("UPDATE amqtask_schedules SET schedule = '1h' WHERE name = 'bad'")
        wait_for(lambda: "bad" in beat.leader.entries)
        by_hand("UPDATE amqtask_schedules SET options = '{\"queue\": \"nowhere\"}' WHERE name = 'bad'")
        wait_for(lambda: "'bad': queue 'nowhere' is not declared" in caplog.text)
        assert beat.leader.entries["bad"].options == {}
        by_hand("DELETE FROM amqtask_schedules WHERE name = 'good'")
        wait_for(lambda: "good" not in beat.leader.entries)
        assert caplog.text.count("5 parsecs") == 1


def test_a_row_is_sent_once_for_each_due_time_whoever_leads(make):
    first, second = make(), make()
    first.schedules.add("often", "tick", 0.1, catchup="all")
    with beating(first) as one, beating(second) as other:
        wait_for(lambda: one.pulse.sent_count > 3)
        first.schedules.update("often", kwargs={"x": 1})
        one.stop()
        wait_for(lambda: other.pulse.sent_count > 3)
        assert other.leader.entries["often"].kwargs == {"x": 1}
    assert judged([due for _, due in taken(first)], 0.1) == (0, 0)


def test_without_its_database_the_scheduler_goes_on_with_what_it_knows(make, by_hand, file, caplog):
    app = make()
    app.schedules.add("often", "tick", 0.1)
    with beating(app) as beat:
        wait_for(lambda: beat.pulse.sent_count)
        by_hand("ALTER TABLE amqtask_schedules RENAME TO away")
        wait_for(lambda: "going on with the 1 periodic tasks that are known" in caplog.text)
        sent = beat.pulse.sent_count
        wait_for(lambda: beat.pulse.sent_count > sent + 2)
        by_hand("ALTER TABLE away RENAME TO amqtask_schedules")
        by_hand("UPDATE amqtask_schedules SET schedule = '1h'")
        wait_for(lambda: "is read again" in caplog.text)
        wait_for(lambda: beat.leader.state.rows["often"]["schedule"] == "1h")
    assert caplog.text.count("can't read table") == 1
    with beating(make(beat_schedule_store=f"db+sqlite:///{file.parent}/nowhere/x.sqlite")) as beat:
        wait_for(lambda: leads(beat))
        assert list(beat.leader.entries) == ["often"]  # as the log has it
        with pytest.raises(BackendError, match="unable to open"):
            beat._app.schedules.add("more", "tick", 60)
        assert [one.name for one in beat._app.schedules.list()] == ["often"]


def test_a_database_that_does_not_answer_or_whose_driver_fails_is_told_of_and_asked_again(make, caplog, monkeypatch):
    monkeypatch.setattr(follower, "_FROZEN", 0.1)
    app = make()
    app.schedules.add("often", "tick", 0.1)
    answer = Event()

    def read(**_how):
        answer.wait(60)
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no driver's own error")

    with beating(app) as beat:
        wait_for(lambda: beat.pulse.sent_count)
        with monkeypatch.context() as patched:
            patched.setattr(beat._follower._table, "read", read)
            wait_for(lambda: "no answer for 0.1 s; going on with the 1 periodic tasks that are known" in caplog.text)
            sent = beat.pulse.sent_count
            wait_for(lambda: beat.pulse.sent_count > sent + 2)
            answer.set()
        app.schedules.update("often", schedule="1h")
        wait_for(lambda: beat.leader.state.rows["often"]["schedule"] == "1h")
    assert caplog.text.count("is read again") == 1


def test_what_was_read_before_another_one_led_counts_no_more(make, monkeypatch):
    monkeypatch.setattr(follower, "_EVERY", 3600)
    app = make()
    app.schedules.add("there", "tick", "1h")
    with beating(app) as beat:
        wait_for(lambda: "there" in beat.leader.entries)
        began = beat._follower._lead
        beat._follower._lead += 1
        beat._follower._follow(began, {"removed": {"task": "tick", "schedule": "1h"}})
        make(beat_schedule_store=None).schedules.add("later", "tick", "1h")
        wait_for(lambda: "later" in beat.leader.entries)
        assert set(beat.leader.entries) == {"there", "later"}


def test_a_state_that_fits_into_no_message_ends_no_scheduler(make, caplog, monkeypatch):
    monkeypatch.setattr(leader, "COMPACT_AFTER", 1)
    monkeypatch.setattr(schedule_log, "_ANSWER", 0.2)
    app = make(declared(schedule=0.1), broker_max_message_size=5000)
    for number in range(3):
        app.schedules.add(f"large{number}", "tick", "@daily", args=["x" * 2000])
    for _ in range(2):
        caplog.clear()
        with beating(app) as beat:
            wait_for(lambda: len(beat.leader.entries) == 4)
            wait_for(lambda: "The state of 4 periodic tasks can't be written" in caplog.text)
            with pytest.raises(BrokerUnavailable, match="does not answer"):
                app.schedules.list()
            sent = beat.pulse.sent_count
            wait_for(lambda sent=sent: beat.pulse.sent_count > sent + 2)
    dues = [due for _, due in taken(app)]
    assert len(dues) == len(set(dues))


def test_a_row_that_was_just_added_can_be_run_now(make):
    app = make()
    with beating(app) as beat:
        wait_for(lambda: leads(beat))
        app.schedules.add("once", "tick", "@daily")
        app.schedules.run_now("once")
        wait_for(lambda: beat.pulse.sent_count == 1)
    assert [name for name, _ in taken(app)] == ["once"]


def test_what_was_added_to_the_log_before_can_still_be_changed(make):
    make(beat_schedule_store=None).schedules.add("old", "tick", "@daily")
    app = make()
    app.schedules.pause("old")
    assert [(one.name, one.next) for one in app.schedules.list()] == [("old", None)]
    app.schedules.remove("old")
    assert app.schedules.list() == []


@pytest.mark.parametrize("store", [None, "table"])
def test_a_name_that_does_not_exist_is_an_error_for_the_caller(make, store):
    app = make(declared(), **({} if store else {"beat_schedule_store": None}))
    app.schedules.add("nightly", "tick", "@daily")
    for call in (app.schedules.pause, app.schedules.resume, app.schedules.remove, app.schedules.run_now):
        with pytest.raises(UnknownEntry, match="no periodic task 'nightyl'; did you mean 'nightly'"):
            call("nightyl")
    with beating(app) as beat:
        wait_for(lambda: leads(beat))
        with pytest.raises(UnknownEntry, match="no periodic task 'tock'"):
            app.schedules.update("tock", schedule=60)
        app.schedules.run_now("nightly")
        wait_for(lambda: beat.pulse.sent_count == 1)


@pytest.mark.parametrize("store", [None, "table"])
def test_what_an_update_does_not_name_stays(make, store, name):
    app = make(declared(queue=name, jitter="3s"), **({} if store else {"beat_schedule_store": None}))
    app.schedules.add("night", "tick", "30 2 * * *", queue=name, expires=60, tz="Asia/Tokyo")
    app.schedules.update("night", tz="Europe/Berlin")
    app.schedules.update("night", priority=3)
    app.schedules.update("tick", queue=name, enabled=False)
    app.schedules.update("night", schedule="15 2 * * *")
    app.schedules.update("tick", jitter=None)
    app.schedules.add("paused", "tick", "@daily", enabled=False, priority=0)
    night, paused, tick = (one.entry for one in app.schedules.list())
    assert (paused.enabled, paused.options) == (False, {"priority": 0})
    assert night.schedules[0].spec() == {"cron": "15 2 * * *", "tz": "Europe/Berlin"}
    assert night.options == {"queue": name, "expires": 60.0, "priority": 3}
    assert not tick.enabled
    assert (tick.options, tick.jitter) == ({"queue": name}, timedelta(0))


def test_a_store_that_is_none_is_an_error_at_the_start(make):
    with pytest.raises(ConfigError, match=r"beat_schedule_store 'sqlite:///x': write db\+ before"):
        start_beat(make(beat_schedule_store="sqlite:///x"))
    with pytest.raises(ConfigError, match="no other process sees it"):
        start_beat(make(beat_schedule_store="db+sqlite://"))
