"""Workers whose result backend is down: no result is lost, and no task is run for nothing."""

from __future__ import annotations

import pytest
from proxy import Proxy
from waiting import wait_for

from amqtask import Amqtask

pytestmark = pytest.mark.rabbitmq

POOLS = ["prefork", "threads"]


class Results:
    """A folder for results that can't be written to until it is opened: a file is in its place."""

    def __init__(self, site):
        self._folder = site.folder / "results"
        self._folder.write_text("in the way")
        self.url = f"file://{self._folder}"
        self.app = Amqtask("caller", broker=site.url, backend=self.url, routing=site.folder / "routing.yaml")

    def open(self):
        self._folder.unlink()
        self._folder.mkdir()

    def value(self, task_id):
        return self.app.AsyncResult(task_id).get(timeout=30)


@pytest.fixture
def results(site):
    made = Results(site)
    yield made
    made.app.close()


@pytest.mark.parametrize("pool", POOLS)
def test_worker_killed_before_it_could_store_results_leaves_its_tasks_to_the_next(site, results, pool):
    worker = site.worker("-P", pool, "-c", "2", result_backend=results.url)
    sent = [site.send("note", str(number)) for number in range(10)]
    worker.wait_for_log("The result backend fails")
    worker.kill()
    site.wait_ready("work", 10)
    results.open()
    second = site.worker("-P", pool, "-c", "2", result_backend=results.url)
    assert [results.value(task_id) for task_id in sent] == [f"noted {number}" for number in range(10)]
    assert second.stop() == 0
    assert site.ready("work") == 0


@pytest.mark.parametrize("pool", POOLS)
def test_connection_that_is_cut_while_a_result_waits_makes_no_task_run_again(site, broker_node, results, pool):
    with Proxy("127.0.0.1", broker_node.port) as proxy:
        url = proxy.url(site.url)
        worker = site.worker("-P", pool, "-c", "2", "--prefetch", "10", url=url, result_backend=results.url)
        sent = [site.send("note", str(number)) for number in range(5)]
        wait_for(lambda: len(site.events("done")) == 5)
        worker.wait_for_log("The result backend fails")
        proxy.cut()
        worker.wait_for_log("came again; it still runs", 5)
        results.open()
        assert [results.value(task_id) for task_id in sent] == [f"noted {number}" for number in range(5)]
        worker.wait_for_log("The result backend works again")
        assert worker.stop() == 0
    assert set(site.labels("done").values()) == {1}
    assert site.ready("work") == 0


def test_worker_ends_in_time_although_its_results_can_not_be_stored(site, results):
    worker = site.worker("-P", "threads", "-c", "2", "--shutdown-timeout", "1", result_backend=results.url)
    site.send("note", "a")
    worker.wait_for_log("The result backend fails")
    assert worker.stop() == 0
    site.wait_ready("work", 1)
