"""Workers that tell Sentry: one event per failure, from whatever process or thread, and none is lost at an end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from waiting import wait_for
from worker_process import whole_lines

if TYPE_CHECKING:
    from worker_process import Site

pytestmark = pytest.mark.rabbitmq


def envelopes(site: Site, kind: str) -> list[dict[str, Any]]:
    lines = whole_lines(site.folder / "envelopes")
    return [one for one in map(json.loads, lines) if one["type"] == kind]


def test_each_failure_in_greenlets_and_threads_beside_them_is_one_event_of_its_own_task(site: Site) -> None:
    failing = [(name, 0, f"{name}{number}") for name in ("divide", "adivide") for number in range(3)]
    for name, *args in (*failing, ("expected",), ("hang",)):
        site.send(name, *args)
    worker = site.start("-A", "sentry_app", "worker", "-P", "gevent", "-c", "2", "-Q", "work")
    site.wait_dead(8)
    assert worker.stop() == 0
    events = envelopes(site, "event")
    raised = [one for one in events if "exception" in one]
    assert sorted(one["tags"]["set_by_task"] for one in raised) == sorted(tag for _, _, tag in failing)
    for one in raised:
        tag, facts = one["tags"]["set_by_task"], one["contexts"]["amqtask"]
        assert (one["transaction"], facts["args"], facts["queue"], facts["retries"]) == (tag[:-1], [0, tag], "work", 0)
        assert one["tags"]["amqtask_task_id"] == facts["id"]
        assert [line["message"] for line in one["breadcrumbs"]["values"]] == [f"about to divide by 0 for {tag}"]
    told = {one["logentry"]["formatted"].partition("[")[0] for one in events if one not in raised}
    assert told == {"an error at import", "an error of the I/O thread", "Task hang"}


def test_children_end_with_nothing_unsent_and_the_death_of_one_is_an_event(site: Site) -> None:
    for name, *args in (("tell", "a secret"), ("divide", 0, "a"), ("divide", 0, "b"), ("die",)):
        site.send(name, *args)
    words = ("-P", "prefork", "-c", "2", "--max-tasks-per-child", "1", "-Q", "work")
    worker = site.start("-A", "sentry_app", "worker", *words, SENTRY_SECONDS="0.1")

    def raised() -> dict[str, int]:
        events = envelopes(site, "event")
        return {one["tags"]["set_by_task"]: one["pid"] for one in events if "exception" in one}

    wait_for(lambda: raised().keys() == {"a", "b"}, 20)
    assert worker.pid not in raised().values()
    site.wait_dead(3)
    assert worker.stop() == 0
    events = envelopes(site, "event")
    lost = [one for one in events if one.get("transaction") == "die"]
    assert {one["pid"] for one in lost} == {worker.pid}
    assert {tuple(one["fingerprint"]) for one in lost} == {("amqtask", "task-lost", "die")}, "all of them are one issue"
    assert "a secret" in worker.text()
    assert "a secret" not in str(events), "the log is full of what other tasks have returned"
    before = [one["pid"] for one in events if one.get("logentry", {}).get("message") == "an error at import"]
    assert before == [worker.pid] * 2, "children send nothing from before their time"
