"""Every pool end to end: tasks run, send others, and all of it over two connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from waiting import wait_for
from worker_process import new_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Node
    from worker_process import Site, WorkerProcess

pytestmark = pytest.mark.rabbitmq

SLOTS = {"prefork": 3, "threads": 6, "asyncio": 50, "gevent": 40, "solo": 1}


@pytest.fixture(scope="module", params=SLOTS)
def place(request, broker_node: Node, tmp_path_factory) -> Iterator[tuple[Site, WorkerProcess, str]]:
    """A site with one worker of each pool in turn, shared by the tests of this file."""
    pool: str = request.param
    with new_site(broker_node, tmp_path_factory.mktemp(pool)) as site:
        worker = site.worker("-P", pool, "-c", str(SLOTS[pool]), "-n", f"{pool}@here")
        yield site, worker, pool
        assert worker.stop() == 0
        text = worker.text()
        assert "Traceback" not in text
        assert site.ready("work") == 0
        assert site.dead() == []
        assert all(count == 1 for count in site.labels("done").values())


def test_sync_and_async_tasks_run_and_their_results_are_logged(place):
    site, worker, _ = place
    ids = {name: site.send(name, name) for name in ("note", "anote")}
    site.wait_done("note", "anote")
    for name, task_id in ids.items():
        worker.wait_for_log(rf"Task {name}\[{task_id}\] succeeded in \d+\.\d+s: 'noted {name}'")
        assert worker.count(rf"Task {name}\[{task_id}\] received") == 1


def test_a_task_sends_others_through_its_worker(place):
    site, _, _ = place
    for number in range(5):
        site.send("sends", f"s{number}")
        site.send("asends", f"a{number}")
    site.wait_done(*(f"{kind}{number}.inner" for kind in "sa" for number in range(5)))


def test_slots_run_at_the_same_time(place):
    site, _, pool = place
    slots = min(SLOTS[pool], 20)
    labels = [f"held{number}" for number in range(slots)]
    for label in labels:
        site.send("ahold" if pool == "asyncio" else "hold", label)
    site.wait_event("start", *labels)
    for label in labels:
        site.open_gate(label)
    site.wait_done(*labels)


def test_many_tasks_are_done_exactly_once(place):
    site, worker, _ = place
    labels = [f"many{number}" for number in range(150)]
    for label in labels:
        site.send("note", label)
    site.wait_done(*labels)
    worker.wait_for_log(r"succeeded", len(labels))
    assert all(site.labels("done")[label] == 1 for label in labels)


def test_a_worker_has_two_connections_whatever_its_concurrency(place, broker_node):
    site, _, pool = place
    site.send("sends", f"{pool} connects")
    site.wait_done(f"{pool} connects.inner")
    wait_for(lambda: broker_node.connections(f"{pool}@here") == 2, timeout=60)  # each look starts a program
