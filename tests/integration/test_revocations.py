"""Revoked tasks do not run: whoever revoked them, whenever a worker starts. Paused queues rest likewise."""

from __future__ import annotations

import pytest
from nodes import Node
from waiting import wait_for
from worker_process import Site

from amqtask.control.tombstones import Tombstone, message

WORKER = ("-P", "threads", "-c", "2")


def revoked(site: Site, node: str) -> set[str]:
    answer = site.app.control.inspect([node], timeout=60).revoked()
    assert answer is not None
    return set(answer[node])


def test_a_task_revoked_while_no_worker_is_there_never_runs(site: Site) -> None:
    gone = site.send("note", "gone")
    stamped = site.app.signature("note", args=("stamped",)).stamp(user="7").apply_async(queue="work").id
    site.app.control.revoke([gone, *(f"other-{n}" for n in range(3000))])
    site.app.control.revoke_by_stamped_headers({"user": "7"})
    site.admin.publish(message(Tombstone(0.0, ("long ago",))))
    site.send("note", "kept")
    worker = site.worker(*WORKER, "-n", "w1@h")
    worker.wait_for_log(r"revoked: revoked", 2)
    site.wait_done("kept")
    assert site.labels("done") == {"kept": 1}
    assert stamped in worker.text()
    assert len(revoked(site, "w1@h")) == 3001
    assert worker.stop() == 0
    assert not site.dead()


def test_a_waiting_task_is_refused_and_a_running_one_stopped(site: Site) -> None:
    worker = site.worker(*WORKER, "-n", "w1@h", "--prefetch", "4")
    running = [site.send("hold", f"r{n}") for n in range(2)]
    waiting = site.send("note", "waiting")
    site.wait_event("start", "r0", "r1")
    control = site.app.control
    wait_for(lambda: len(control.inspect(["w1@h"], timeout=60).reserved()["w1@h"]) == 1)
    (answer,) = control.revoke([waiting], reply=True, timeout=60, limit=1) or []
    assert answer == {"w1@h": {"ok": f"tasks {{{waiting!r}}} flagged as revoked"}}
    worker.wait_for_log(f"{waiting}. revoked: revoked")
    (answer,) = control.terminate(running[0], reply=True, timeout=60, limit=1) or []
    assert answer == {"w1@h": {"ok": f"terminate: {running[0]}"}}
    worker.wait_for_log(f"{running[0]}. revoked: terminated")
    (answer,) = control.terminate("zz", reply=True, timeout=60, limit=1) or []
    assert answer == {"w1@h": {"ok": "terminate: tasks unknown"}}
    (answer,) = control.terminate("zz", signal="SIGNONE", reply=True, timeout=60, limit=1) or []
    assert answer == {"w1@h": {"error": "unknown signal 'SIGNONE'"}}
    site.open_gate()
    site.wait_done("r1")
    assert site.labels("done") == {"r1": 1}


def test_a_revocation_by_celery_s_words_is_kept_by_a_worker(site: Site) -> None:
    first = site.worker(*WORKER, "-n", "w1@h")
    site.app.control.broadcast("revoke", {"task_id": "of-flower", "terminate": 1, "signal": None})
    wait_for(lambda: "of-flower" in revoked(site, "w1@h"))
    assert first.stop() == 0
    site.worker(*WORKER, "-n", "w2@h")
    wait_for(lambda: revoked(site, "w2@h") == {"of-flower"})


@pytest.mark.rabbitmq_only("revocations follow each other through a stream")
def test_workers_learn_of_a_revocation_that_was_not_meant_for_them(site: Site) -> None:
    site.worker(*WORKER, "-n", "w1@h")
    site.worker(*WORKER, "-n", "w2@h")
    site.app.control.revoke("x", destination=["w1@h"])
    wait_for(lambda: "x" in revoked(site, "w2@h"))
    site.app.control.broadcast("revoke", {"task_id": "y"}, ["w1@h"])
    wait_for(lambda: "y" in revoked(site, "w2@h"))


def test_a_paused_queue_rests_over_restarts(site: Site) -> None:
    worker = site.worker(*WORKER, "-n", "w1@h", "--prefetch", "4")
    control = site.app.control
    for label in ("r0", "r1"):
        site.send("hold", label)
    site.wait_event("start", "r0", "r1")
    site.send("note", "held")
    assert control.pause("work", reply=True, timeout=60, limit=1) == [{"w1@h": {"ok": "paused work"}}]
    site.wait_ready("work", 1)
    site.open_gate()
    site.wait_done("r0", "r1")
    site.send("note", "later")
    assert worker.stop() == 0
    again = site.worker(*WORKER, "-n", "w1@h")
    again.wait_for_log("Queue work is paused")
    site.wait_ready("work", 2)
    assert site.labels("done") == {"r0": 1, "r1": 1}
    assert control.resume("work", reply=True, timeout=60, limit=1) == [{"w1@h": {"ok": "resumed work"}}]
    site.wait_done("held", "later")
    assert again.stop() == 0


def test_revocations_are_read_again_after_a_lost_connection(breakable_site: Site, own_node: Node) -> None:
    site = breakable_site
    worker = site.worker(*WORKER, "-n", "w1@h")
    own_node.close_connections()
    worker.wait_ready(2)
    gone = site.send("note", "gone")
    site.app.control.revoke(gone)
    site.send("note", "kept")
    site.wait_done("kept")
    assert site.labels("done")["gone"] <= 1
    wait_for(lambda: gone in revoked(site, "w1@h"))
