"""Chords that RabbitMQ counts, while workers die, connections are cut and the broker restarts: each body runs, with
every result, and its caller gets it."""

from __future__ import annotations

import threading

import pytest
from proxy import Proxy
from waiting import wait_for

from amqtask import Amqtask
from amqtask.canvas.chord import chord
from amqtask.canvas.signature import signature

pytestmark = pytest.mark.rabbitmq

SIZE = 40


@pytest.fixture
def calling():
    """Makes apps that send to a site and wait for results."""
    apps = []

    def make(site):
        app = Amqtask("caller", broker=site.url, backend="rpc://", routing=site.folder / "routing.yaml")
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


def begin(app, label, member="slow_note", *args, size=SIZE):
    """Send a chord to the queue ``work``; its body writes ``done`` with the label."""
    members = [signature(member, (f"{label}.{number}", *args), queue="work", app=app.canvas) for number in range(size)]
    return chord(members, signature("gather", (label,), queue="work", app=app.canvas), app=app.canvas).apply_async()


def expected(label, size=SIZE):
    return [f"noted {label}.{number}" for number in range(size)]


def check_bodies(site, label, *, most=1):
    """It ran with all results each time, and not more often than that."""
    ran = site.events("done", label)
    assert 1 <= len(ran) <= most
    assert all(one.more["results"] == expected(label) for one in ran)


@pytest.mark.parametrize("moment", [1, 15, SIZE - 2])
def test_worker_killed_in_the_middle_of_a_chord_costs_no_member_and_no_body(site, calling, moment):
    first, second = (
        site.worker("-P", "prefork", "-c", "2", "--prefetch", "6", "-n", name, result_backend="rpc://")
        for name in ("a@%h", "b@%h")
    )
    result = begin(calling(site), "c", "slow_note", 0.05)
    wait_for(lambda: len(site.events("start")) >= moment)
    first.kill()
    assert result.get(timeout=60) == expected("c")
    wait_for(lambda: site.ready("work") == 0)
    assert second.stop() == 0
    check_bodies(site, "c", most=2)
    assert site.admin.queue_state(f"amqtask.chord.{result.parent.id}") is None


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_connections_that_are_cut_again_and_again_cost_no_body(site, broker_node, calling, pool):
    app = calling(site)
    with Proxy("127.0.0.1", broker_node.port) as proxy:
        worker = site.worker(
            "-P", pool, "-c", "4", "--prefetch", "20", url=proxy.url(site.url), result_backend="rpc://"
        )
        results = [begin(app, f"c{number}", "slow_note", 0.02) for number in range(6)]
        for turn in range(1, 5):
            wait_for(lambda: len(site.events("start")) >= turn * SIZE)  # noqa: B023 -- called before the loop goes on
            proxy.cut()
            worker.wait_ready(turn + 1)
        for number, result in enumerate(results):
            assert result.get(timeout=60) == expected(f"c{number}")
        wait_for(lambda: site.ready("work") == 0)
        assert worker.stop() == 0
    for number in range(6):
        check_bodies(site, f"c{number}", most=2)


def test_warm_end_of_a_worker_leaves_its_members_to_another(site, calling):
    workers = [
        site.worker("-P", "threads", "-c", "4", "-n", f"w{number}@%h", result_backend="rpc://") for number in range(3)
    ]
    result = begin(calling(site), "c", "slow_note", 0.05)
    for number, worker in enumerate(workers[:2], 1):
        wait_for(lambda: len(site.events("start")) >= number * 10)  # noqa: B023 -- called before the loop goes on
        assert worker.stop() == 0
    assert result.get(timeout=60) == expected("c")
    assert workers[2].stop() == 0
    check_bodies(site, "c")


@pytest.mark.rabbitmq_only("keeping messages over a restart")
def test_broker_that_restarts_in_the_middle_of_a_chord_keeps_what_is_counted(breakable_site, own_node, calling):
    site = breakable_site
    site.route("version: 1\ndefaults: {queue: {type: classic}}\nqueues:\n  work: {}\n")
    worker = site.worker("-P", "prefork", "-c", "2", "-Q", "work", broker_confirm_timeout=60, result_backend="rpc://")
    result = begin(calling(site), "c", "slow_note", 0.1)
    wait_for(lambda: len(site.events("start")) > 10)
    site.admin_close()
    restart = threading.Thread(target=own_node.restart)
    restart.start()
    restart.join()
    worker.wait_ready(2)
    assert result.get(timeout=60) == expected("c")
    assert worker.stop() == 0
    check_bodies(site, "c", most=2)
