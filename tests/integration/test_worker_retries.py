"""Retries, delays, expiry and what else a task may say about its message, on a real broker with a real worker."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from worker_process import new_site

from amqtask.app.dead import DeadLetters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Node
    from worker_process import Site, WorkerProcess

pytestmark = pytest.mark.rabbitmq

ROUTING = """\
version: 1
defaults:
  queue: {type: classic}
queues:
  work: {}
  listed: {retry: {delays: [100ms, 300ms], max_retries: 3}}
  spread: {retry: {delays: [200ms], jitter: 50%, max_retries: 2}}
  patient: {retry: {delays: [1h]}}
"""

LATE = 30.0
"""Seconds a message may come late on a busy machine."""


@pytest.fixture(scope="module")
def place(broker_node: Node, tmp_path_factory) -> Iterator[tuple[Site, WorkerProcess]]:
    """A site with one worker for the tests of this file."""
    folder = tmp_path_factory.mktemp("retries")
    with new_site(broker_node, folder, ROUTING) as site:
        worker = site.worker("-P", "threads", "-c", "8", "-n", "retries@here", unknown_task_delays="0.3s,0.3s")
        yield site, worker
        assert worker.stop() == 0
        assert all(site.ready(queue) == 0 for queue in ("work", "listed", "spread", "patient"))


@pytest.fixture
def site(place) -> Iterator[Site]:
    """That site, with no dead letters."""
    site, _ = place
    yield site
    for queue in ("work.dead", "listed.dead", "spread.dead", "patient.dead"):
        site.admin.purge(queue)


def gaps(site: Site, label: str) -> list[float]:
    """Seconds between the starts of a label's attempts."""
    times = [one.at for one in site.events("start", label)]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def check_gaps(found: list[float], *wanted: float) -> None:
    assert len(found) == len(wanted)
    assert all(least <= gap < least + LATE for gap, least in zip(found, wanted, strict=True)), found


def test_a_queue_with_a_list_of_delays_retries_after_these_and_then_gives_up(site):
    task_id = site.send("fail", "listed", queue="listed")
    (dead,) = site.wait_dead(1, "listed")
    check_gaps(gaps(site, "listed"), 0.1, 0.3, 0.3)
    assert (dead.id, dead.reason, dead.attempts) == (task_id, "failed", 4)
    assert (dead.exception, dead.message) == ("ValueError", "no luck with listed")
    assert "raise ValueError" in (dead.traceback or "")
    assert dead.worker == "retries@here"
    assert dead.headers["x-amqtask-queue"] == "listed"
    first, last = (datetime.fromisoformat(one) for one in (dead.first_time, dead.last_time))
    assert 0.7 <= (last - first).total_seconds() < 0.7 + LATE


def test_a_replay_fails_for_the_first_time_once_more(site):
    site.send("fail", "replayed", queue="listed")
    (before,) = site.wait_dead(1, "listed")
    DeadLetters(site.admin, "listed").retry()
    site.wait_ready("listed.dead", 0)
    (after,) = site.wait_dead(1, "listed")
    assert before.last_time < after.first_time < after.last_time


def test_a_failed_task_waits_in_the_retry_queue_of_its_delay(site):
    site.send("fail", "patient", queue="patient")
    site.wait_ready("patient.retry.3600000", 1)
    site.admin.purge("patient.retry.3600000")
    assert len(site.events("start", "patient")) == 1


def test_jitter_spreads_a_delay_upwards_only(site):
    site.send("fail", "spread", queue="spread")
    (dead,) = site.wait_dead(1, "spread")
    check_gaps(gaps(site, "spread"), 0.2, 0.2)
    assert dead.attempts == 3


def test_a_task_with_a_list_of_its_own_follows_it(site):
    site.send("listed", "own")
    (dead,) = site.wait_dead(1)
    check_gaps(gaps(site, "own"), 0.1, 0.3)
    assert (dead.exception, dead.attempts) == ("LookupError", 3)


def test_backoff_of_a_task_ends_with_its_last_retry(site):
    site.send("backoff", "backoff")
    (dead,) = site.wait_dead(1)
    assert len(gaps(site, "backoff")) == 3
    assert (dead.exception, dead.attempts) == ("OSError", 4)


def test_self_retry_with_a_countdown_runs_again_and_never_early(site):
    site.send("again", "again", 2, 0.3)
    site.wait_done("again")
    check_gaps(gaps(site, "again"), 0.3, 0.3)
    assert [one.more["retries"] for one in site.events("start", "again")] == [0, 1, 2]
    assert site.dead() == []


def test_self_retry_with_no_retry_left_is_dead_with_that_reason(site):
    site.send("again", "exhausted", 99, 0.0)
    (dead,) = site.wait_dead(1)
    assert len(site.events("start", "exhausted")) == 4
    assert (dead.reason, dead.attempts) == ("failed", 4)
    assert dead.exception == "amqtask.errors.MaxRetriesExceeded"


def test_retry_false_means_no_retry_even_in_a_queue_that_has_a_policy(site):
    site.send("fail_at_once", "once", queue="listed")
    (dead,) = site.wait_dead(1, "listed")
    assert len(site.events("start", "once")) == 1
    assert dead.attempts == 1


@pytest.mark.parametrize("delay", [0.05, 0.3, 1.6])
def test_a_countdown_is_kept_and_never_early(site, delay):
    label = f"countdown {delay}"
    before = datetime.now(UTC).timestamp()
    site.send("note", label, countdown=delay)
    site.wait_done(label)
    (event,) = site.events("done", label)
    assert delay <= event.at - before < delay + LATE


def test_an_eta_is_kept_and_never_early(site):
    eta = datetime.now(UTC) + timedelta(seconds=0.7)
    site.send("note", "eta", eta=eta)
    site.wait_done("eta")
    (event,) = site.events("done", "eta")
    assert 0 <= event.at - eta.timestamp() < LATE


def test_an_expired_task_is_not_run_but_dead_lettered(site):
    site.send("note", "expired", countdown=0.5, expires=0.2)
    (dead,) = site.wait_dead(1)
    assert dead.reason == "expired"
    assert not site.events(label="expired")


def test_reject_is_a_dead_letter_with_what_the_task_said(site):
    site.send("reject", "rejected", queue="listed")
    (dead,) = site.wait_dead(1, "listed")
    assert (dead.reason, dead.message, dead.attempts) == ("rejected", "not mine", 1)
    assert len(site.events("start", "rejected")) == 1


def test_reject_with_requeue_puts_the_message_back(site):
    site.send("put_back", "back")
    site.wait_done("back")
    assert len(site.events("start", "back")) == 3
    assert site.dead() == []


def test_an_ignored_task_is_done_with(site):
    site.send("ignore", "ignored", queue="listed")
    site.wait_event("start", "ignored")
    site.send("note", "after ignored", queue="listed")
    site.wait_done("after ignored")
    assert site.dead("listed") == []
    assert len(site.events("start", "ignored")) == 1


def test_an_unknown_task_is_parked_and_at_last_dead(place, site):
    _, worker = place
    task_id = site.send("news", "nobody")
    (dead,) = site.wait_dead(1)
    assert dead.reason == "unknown_task"
    assert "'news'" in (dead.message or "")
    assert worker.count(rf"Task news\[{task_id}\] parked; next try in 0.3s") == 2


def test_a_parked_task_runs_once_a_worker_knows_it(broker_node, tmp_path):
    with new_site(broker_node, tmp_path, ROUTING, unknown_task_delays="1s,1s") as site:
        older = site.worker("-P", "solo", "-Q", "work")
        labels = [f"news{number}" for number in range(5)]
        for label in labels:
            site.send("news", label)
        older.wait_for_log(r"Task news\[\S+\] parked", len(labels))
        assert older.stop() == 0
        site.worker("-P", "solo", "-Q", "work", CREW_KNOWS_MORE=1)
        site.wait_done(*labels)
        assert site.dead() == []


def test_unknown_tasks_are_dead_at_once_when_the_policy_says_so(broker_node, tmp_path):
    with new_site(broker_node, tmp_path, ROUTING, unknown_task_policy="dead") as site:
        site.worker("-P", "solo", "-Q", "work")
        site.send("news", "x")
        (dead,) = site.wait_dead(1)
        assert dead.reason == "unknown_task"
