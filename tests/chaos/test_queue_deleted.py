"""A queue is deleted under a worker that consumes another one as well."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.rabbitmq

TWO = """\
version: 1
queues:
  work: {type: quorum}
  other: {type: classic}
routes:
  - {task: "*", queue: work}
"""


@pytest.mark.parametrize("mode", ["none", "verify", "declare"])
def test_the_other_queue_is_consumed_on_and_its_messages_stay_where_they_are(site, mode):
    site.route(TWO)
    for queue in ("work", "other"):
        site.send("hold", queue, queue=queue)
    worker = site.worker("-P", "threads", "-c", "2", "--prefetch", "5", topology_mode=mode)
    site.wait_event("start", "work", "other")
    labels = [f"waiting{number}" for number in range(3)]
    for label in labels:
        site.send("note", label)
    site.wait_ready("work", 0)
    site.admin.delete_queue("other")
    worker.wait_for_log("cancelled the consumer of other")
    if mode == "declare":
        site.send("note", "again", queue="other")
    else:
        worker.wait_for_log("Can't declare again", times=2)
    site.open_gate()
    site.wait_done("work", "other", *labels, *(["again"] if mode == "declare" else []))
    assert worker.count("channel closed by the broker") == 0
    assert worker.stop() == 0
    assert set(site.labels("start").values()) == {1}
    assert site.dead() == []
