"""Limits kept by workers: by one, and by two that share a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from waiting import wait_for
from worker_process import new_site

from amqtask.tasks.limits import LIMIT_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Node
    from worker_process import Site

pytestmark = pytest.mark.rabbitmq

APP = ("-A", "limits_app", "-P", "threads")


def most_in(times, span):
    """The most events within any span of seconds."""
    return max(sum(1 for other in times if one <= other < one + span) for one in times)


def most_at_once(events):
    """The most tasks between their start and their end at any time."""
    running = most = 0
    for event in sorted(events, key=lambda event: (event.at, event.event == "start")):
        running += {"start": 1, "done": -1}[event.event]
        most = max(most, running)
    return most


def send_all(site, task, count, *args, **options):
    labels = [f"{task}-{number}" for number in range(count)]
    for label in labels:
        site.send(task, label, *args, **options)
    return labels


def of(site, labels, event=None):
    return [one for one in site.events(event) if one.label in set(labels)]


@pytest.fixture(scope="module")
def pair(broker_node: Node, tmp_path_factory) -> Iterator[Site]:
    """A site with two workers, shared by tests of this file."""
    with new_site(broker_node, tmp_path_factory.mktemp("pair")) as site:
        workers = [site.worker(*APP, "-c", "2", "-n", f"w{number}") for number in range(2)]
        yield site
        assert [worker.stop() for worker in workers] == [0, 0]
        assert not any("Traceback" in worker.text() for worker in workers)
        wait_for(lambda: site.ready("amqtask.limit.shared.tok") == 10)
        assert site.ready("amqtask.limit.few.per") == 2
        assert site.ready("work") == 0


def test_two_workers_share_a_rate_and_others_run_beside_it(pair):
    labels, free = send_all(pair, "shared", 15), send_all(pair, "free", 10)
    pair.wait_done(*free)
    assert not set(labels) <= pair.labels("done").keys()
    pair.wait_done(*labels)
    times = [event.at for event in of(pair, labels)]
    assert len(times) == 15
    assert most_in(times, 0.5) <= 10
    assert max(times) - min(times) > 0.5  # of one second: a busy machine tells of some late


def test_two_workers_share_permits(pair):
    labels = send_all(pair, "few", 8)
    pair.wait_done(*labels)
    assert most_at_once(of(pair, labels)) == 2


def test_each_key_has_permits_of_its_own_and_none_holds_up_the_others(pair):
    several = [("a", number) for number in range(12)] + [(tenant, 0) for tenant in "bcd"]
    for tenant, number in several:
        pair.send("per_tenant", f"{tenant}{number}", tenant, headers={LIMIT_KEY: tenant})
    pair.wait_done("b0", "c0", "d0")
    assert "a11" not in pair.labels("done")
    pair.wait_done("a11")
    events = [event for event in pair.events() if "tenant" in event.more]
    for tenant in "abcd":
        assert most_at_once(event for event in events if event.more["tenant"] == tenant) == 1
    assert most_at_once(events) > 1


def test_a_rate_of_one_worker_keeps_no_slot_and_the_order(site):
    labels, free = send_all(site, "paced", 4), send_all(site, "free", 3)
    worker = site.worker(*APP, "-c", "1")
    site.wait_done(*labels, *free)
    times = [event.at for event in of(site, labels)]
    assert [event.label for event in of(site, labels)] == labels
    assert max(times) - min(times) > 3 * 0.25 / 2
    assert {event.label for event in site.events("done")[:5]} >= set(free)
    assert worker.stop() == 0


def test_a_rate_changes_at_run_time_and_what_waits_goes_back_at_the_end(site):
    worker = site.worker(*APP, "-c", "2", "-n", "one@here", SHARED_RATE="1/h")
    options = {"destination": ["one@here"], "reply": True, "timeout": 10}
    labels = send_all(site, "shared", 5)
    wait_for(lambda: len(of(site, labels)) == 1)
    site.wait_ready("work", 0)
    told = site.app.control.rate_limit("shared", "100/s", **options)
    assert [set(answer) for reply in told for answer in reply.values()] == [{"ok"}]
    site.wait_done(*labels)
    site.app.control.rate_limit("shared", "1/h", **options)
    send_all(site, "shared", 3)
    site.wait_ready("work", 0)
    assert worker.stop() == 0
    assert worker.count("WARNING.*tokens") == 0
    site.wait_ready("work", 3)
