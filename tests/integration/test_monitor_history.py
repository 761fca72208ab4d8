"""The history of events in a stream: the same list after a restart, and for every monitor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from chosen_broker import ON_DEV
from waiting import wait_for
from watched_shop import make_shop

from amqtask import clock
from amqtask.broker.admin import Admin
from amqtask.errors import ConfigError
from amqtask.events import history
from amqtask.monitor.collector import Collector
from amqtask.monitor.options import Options
from amqtask.monitor.picture import Picture
from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

STREAMS = pytest.mark.rabbitmq_only("streams")
pytestmark = pytest.mark.rabbitmq
TESTS = Path(__file__).parents[1]


@pytest.fixture
def app(vhost_url):
    made = make_shop(vhost_url)
    yield made
    made.close()


class Watching:
    """A collector that runs, and what it shows."""

    def __init__(self, app):
        self.collector = Collector(app, Options())
        self._picture = Picture(self.collector)

    def __enter__(self):
        self.collector.start()
        wait_for(lambda: self.collector.health.connected and not self.collector.health.catching_up)
        return self

    def __exit__(self, *_):
        self.collector.stop()

    def rows(self, count):
        def enough():
            given = {"state": None, "name": None, "worker": None, "search": None, "limit": 500, "before": None}
            found = self._picture.page(**given).rows
            return found if len(found) == count and all(row.state in {"SUCCESS", "FAILURE"} for row in found) else None

        return wait_for(enough)


def work(app, count):
    asked = Requested(pool="threads", hostname="w1@here", queues=("work",))
    with EmbeddedWorker(app, resolve(asked, app.topology, app.settings)) as worker:
        for number in range(count):
            app.tasks["add"].delay(number, 1)
        wait_for(lambda: sum(worker.counts.ended.values()) == count)


def program(url, *more):
    """A monitor in a process of its own, and its address."""
    command = [sys.executable, "-m", "amqtask", "-A", "watched_shop", "monitor", "--port", "0", *more]
    environment = {**os.environ, "WATCHED_SHOP": url, "PYTHONPATH": str(TESTS), "PYTHONUNBUFFERED": "1"}
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return started, started.stdout.readline().strip()


def ask(address, path):
    with closing(urllib.request.urlopen(f"{address}{path}", timeout=10)) as answer:
        return json.load(answer)


def end(process, how=signal.SIGTERM):
    process.send_signal(how)
    _, errors = process.communicate(timeout=20)
    return errors


@STREAMS
def test_a_monitor_that_was_killed_shows_the_same_list_again(app, vhost_url):
    first, address = program(vhost_url)
    try:
        wait_for(lambda: _stream(app))
        work(app, 5)
        before = wait_for(lambda: _all_succeeded(address, 5), timeout=30)
    finally:
        end(first, signal.SIGKILL)
    second, address = program(vhost_url)
    try:
        assert wait_for(lambda: _all_succeeded(address, 5), timeout=30) == before
    finally:
        errors = end(second)
    assert second.returncode == 0, errors
    assert "Traceback" not in errors


def _all_succeeded(address, count):
    tasks = ask(address, "api/tasks")
    return tasks if [one["state"] for one in tasks.values()] == ["SUCCESS"] * count else None


def _stream(app):
    with Admin(app.broker_urls, app.connection_options) as admin:
        return admin.queue_state(history.name_of(app.settings))


@STREAMS
def test_monitors_agree_whenever_they_were_started(app):
    with Watching(app) as early:
        work(app, 3)
        seen = early.rows(3)
        with Watching(app) as late:
            assert late.rows(3) == seen
            work(app, 2)
            assert late.rows(5) == early.rows(5)
    work(app, 1)  # while nobody watches
    with Watching(app) as again:
        assert len(again.rows(6)) == 6
        assert not [worker for worker in again.collector.state.workers.values() if worker.alive], "it has ended"


@STREAMS
def test_a_worker_that_is_gone_for_long_is_not_taken_for_one_that_lives(app, vhost_url):
    """Its last heartbeat is read just now, and was sent an hour ago. The limits of the history are not this app's."""
    with Watching(app):
        pass
    event = {
        "type": "worker-heartbeat",
        "hostname": "old@there",
        "timestamp": clock.wall() - 3600,
        "freq": 2,
        "clock": 1,
    }
    with Admin(app.broker_urls, app.connection_options) as admin:
        body = json.dumps(event).encode()
        admin.publish(Outgoing("celeryev", "worker.heartbeat", Properties("application/json"), body))
    other = make_shop(vhost_url, event_history_age=7200.0, event_history_size=2_000_000)
    with Watching(other) as watching:
        worker = wait_for(lambda: watching.collector.state.workers.get("old@there"))
        assert not worker.alive
    other.close()


@STREAMS
def test_a_history_that_was_deleted_is_made_anew(app):
    with Watching(app) as watching:
        work(app, 1)
        watching.rows(1)
        with Admin(app.broker_urls, app.connection_options) as admin:
            admin.delete_queue(history.name_of(app.settings))
        wait_for(lambda: not watching.collector.health.connected)
        wait_for(lambda: watching.collector.health.connected)
        work(app, 2)
        watching.rows(3)


@STREAMS
def test_all_of_it_is_read_while_the_broker_blocks_publishers(own_node):
    """It would take no more acks from a connection that publishes, and so give no more: that is when people look."""
    app, count = make_shop(own_node.url), history.PREFETCH + 100
    with Watching(app):
        pass
    event = {"type": "worker-heartbeat", "hostname": "w9@there", "timestamp": clock.wall(), "clock": 1}
    with Admin(app.broker_urls, app.connection_options) as admin:
        for _ in range(count):
            admin.publish(Outgoing("celeryev", "worker.x", Properties("application/json"), json.dumps(event).encode()))
    own_node.block()
    try:
        with Watching(app) as watching:
            assert watching.collector.state.event_count >= count
    finally:
        own_node.unblock()
        app.close()


@STREAMS
def test_a_program_reads_the_history_from_where_it_likes(app):
    with Watching(app):
        pass
    work(app, 2)
    with app.connection() as connection:
        for offset in ("first", 0, "1h", datetime.now(UTC) - timedelta(hours=1)):
            found = []
            for event in app.events.Receiver(connection, from_offset=offset).itercapture(timeout=20, wakeup=False):
                found.append(event["type"])
                if found.count("task-succeeded") == 2:
                    break
            assert found.count("task-received") == 2, offset
        with pytest.raises(ConfigError, match="yesterday"):
            app.events.Receiver(connection, from_offset="yesterday")


@pytest.mark.skipif(not ON_DEV, reason="it has streams")
def test_a_broker_without_streams_has_no_history_and_the_monitor_says_so(app):
    with app.connection() as connection, pytest.raises(history.NoHistory, match="has no streams"):
        app.events.Receiver(connection, from_offset="first").capture(timeout=10)
    with Watching(app) as watching:
        assert watching.collector.health.history == "memory"
        assert "has no streams" in watching.collector.health.history_note
        work(app, 1)
        watching.rows(1)
