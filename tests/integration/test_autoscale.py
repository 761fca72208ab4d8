"""``--autoscale``: slots follow the load up and down, and so does what the worker holds."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.rabbitmq


def test_slots_come_with_a_load_and_go_without_one(site):
    worker = site.worker("-P", "prefork", "-Q", "work", "--autoscale=6,2", worker_autoscaler="crew:Impatient")
    labels = [f"held{number}" for number in range(9)]
    for label in labels:
        site.send("hold", label)
    site.wait_event("start", *labels[:2])
    worker.wait_for_log(r"Autoscale: \d slots instead of 2, of which 2 are busy")
    site._wait(lambda: len(site.labels("start")) == 6, 20.0)
    site.open_gate()
    site.wait_done(*labels)
    worker.wait_for_log(r"Autoscale: 2 slots instead of \d, of which 0 are busy")
    assert site.labels("done") == dict.fromkeys(labels, 1)
    assert worker.stop() == 0
    assert "Traceback" not in worker.text()
