"""The page for Prometheus as it is scraped: over HTTP, read by the library's own parser, also when the worker hangs."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from scraping import scrape
from waiting import wait_for
from worker_messages import delivery

from amqtask import Amqtask, clock
from amqtask.beat.pulse import Pulse
from amqtask.broker.loop import SelectLoop
from amqtask.cli.workers import pool_words
from amqtask.errors import ConfigError
from amqtask.execution.job import Kind, Outcome
from amqtask.worker import http_server
from amqtask.worker.custody.counts import Counts
from amqtask.worker.deliveries.outcome import NOTHING, UNSENDABLE, WORKER_LOST
from amqtask.worker.metrics.beat import beat_server
from amqtask.worker.metrics.server import MetricsServer
from amqtask.worker.metrics.tasks import OUTCOMES
from amqtask.worker.pools.threads import ThreadPool
from amqtask.worker.steps.metrics import MetricsStep

pytestmark = pytest.mark.usefixtures("patient_http")

PAGE = Path(__file__).parents[2] / "docs/how-to/watch-workers.md"


class Link(SimpleNamespace):
    """A connection that was made again once."""

    opened = 2


class Pool(SimpleNamespace):
    """Of three slots."""

    size, ended_children, new_thread = 3, {"retired": 0, "died": 1}, ThreadPool.new_thread
    running = staticmethod(lambda: [1, 2])


class Worker(SimpleNamespace):
    """An I/O loop in a thread, and what is asked of an engine."""

    def __init__(self, where: str = "127.0.0.1:0") -> None:
        app = Amqtask("shop", worker_metrics=where)
        app.task(name="buy")(lambda: None)
        self.loop, self.app = SelectLoop(), app
        self.options = SimpleNamespace(hostname='w"1@h', pool="prefork")
        self.predecessor = self.successor = None
        self.pool, self.link, self.connection = Pool(), Link(), None
        self.publisher = Link(pending=4, blocked=True, connected=True)
        self.consumers = SimpleNamespace(consumed={"amqtask": 8}, names=["amqtask"])
        acks = SimpleNamespace(settlements=[1] * 5)
        self.custody = SimpleNamespace(observers=[], own={}, acks=acks, counts=Counts(duplicates=6))
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def step(self, kind) -> None:
        """It has none."""

    def call_soon(self, callback) -> None:
        self.loop.call_soon_threadsafe(callback)

    def close(self) -> None:
        self.call_soon(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.app.close()


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.close()


@pytest.fixture
def server(worker):
    made = MetricsServer(worker, "127.0.0.1:0")
    made.start()
    yield made
    made.stop()


def run_one(worker, *, queue="amqtask", name="buy", runtime=0.3) -> None:
    (observer,) = worker.custody.observers
    made = delivery(queue, task=name, eta="2026-01-01")
    for tell in (observer.received, observer.started):
        tell(made)
    observer.ended(made, Outcome(made.key, Kind.SUCCESS, runtime), NOTHING)


def test_a_page_tells_of_tasks_pool_and_connections(worker, server):
    run_one(worker)
    page = scrape(server.port)
    assert page["amqtask_worker_info"].popitem()[0][0::2] == ("prefork", 'w"1@h')
    assert page["amqtask_tasks_received_total"] == {("amqtask", "(unknown)"): 0, ("amqtask", "buy"): 1}
    assert page["amqtask_tasks_started_total"]["amqtask", "buy"] == 1
    assert page["amqtask_tasks_ended_total"]["succeeded", "amqtask", "buy"] == 1
    assert page["amqtask_tasks_ended_total"]["failed", "amqtask", "(unknown)"] == 0
    assert page["amqtask_dead_letters_total"]["amqtask", "buy"] == 0
    buckets = page["amqtask_task_runtime_seconds_bucket"]
    assert [buckets[limit, "amqtask", "buy"] for limit in ("0.25", "0.5", "+Inf")] == [0, 1, 1]
    assert page["amqtask_task_runtime_seconds_sum"] == {("amqtask", "buy"): 0.3}
    assert page["amqtask_task_latency_seconds_count"] == {("amqtask", "buy"): 1}
    numbers = {name: value[()] for name, value in page.items() if () in value}
    assert numbers.pop("amqtask_io_loop_lag_seconds") >= 0
    assert {name: value for name, value in numbers.items() if name.startswith("amqtask_")} == {
        "amqtask_pool_slots": 3, "amqtask_pool_busy": 2, "amqtask_prefetch_messages": 8,
        "amqtask_unacked_messages": 5, "amqtask_unconfirmed_messages": 4, "amqtask_publishers_blocked": 1,
        "amqtask_duplicates_total": 6,
    }  # fmt: skip
    assert page["amqtask_broker_connected"] == {("consume",): 0, ("publish",): 1}
    assert page["amqtask_broker_reconnects_total"] == {("consume",): 1, ("publish",): 1}
    assert page["amqtask_children_ended_total"] == {("retired",): 0, ("died",): 1}
    assert page["process_resident_memory_bytes"][()] > 1e6


def documented(what: str) -> set[str]:
    (table,) = re.findall(rf"<!-- {what} -->\n(.*?)<!-- end of metrics -->", PAGE.read_text(), flags=re.DOTALL)
    return set(re.findall(r"^\| `(amqtask_\w+)` ", table, flags=re.MULTILINE))


def own_names(port: int) -> set[str]:
    return {re.sub("_(bucket|sum|count)$", "", name) for name in scrape(port) if name.startswith("amqtask_")}


def test_every_metric_is_documented_and_nothing_else(worker, server):
    run_one(worker)
    assert own_names(server.port) == documented("metrics")


def test_a_scheduler_tells_of_itself():
    pulse = Pulse(connected=True, leading=True)
    server = beat_server(pulse, 3, "127.0.0.1:0")
    server.start()
    try:
        assert scrape(server.port)["amqtask_beat_lag_seconds"] == {(): 0}
        pulse.ticked(clock.monotonic() - 7)
        pulse.sent(0.25)
        page = scrape(server.port)
        assert own_names(server.port) == documented("metrics of beat")
    finally:
        server.stop()
    assert page["amqtask_beat_lag_seconds"][()] >= 7
    assert {name: value[()] for name, value in page.items() if name.startswith("amqtask_") and "lag" not in name} == {
        "amqtask_beat_connected": 1, "amqtask_beat_leading": 1, "amqtask_beat_entries": 3,
        "amqtask_beat_sent_total": 1, "amqtask_beat_lateness_seconds": 0.25,
    }  # fmt: skip


def test_a_worker_tells_of_the_scheduler_inside_it_while_there_is_one(worker):
    running = [(Pulse(connected=True, leading=True), 3), None]
    server = MetricsServer(worker, "127.0.0.1:0", lambda: running[0])
    server.start()
    try:
        assert documented("metrics of beat") < own_names(server.port)
        assert scrape(server.port)["amqtask_beat_leading"] == {(): 1}
        running.pop(0)
        assert "amqtask_beat_leading" not in scrape(server.port)
    finally:
        server.stop()


def test_alarms_are_about_metrics_that_there_are():
    blocks = re.findall("```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (group,) = yaml.safe_load(next(block for block in blocks if "alert:" in block))["groups"]
    used = set(re.findall(r"amqtask_\w+", " ".join(rule["expr"] for rule in group["rules"])))
    assert {name.removesuffix("_bucket") for name in used} <= documented("metrics") | documented("metrics of beat")


def test_every_outcome_is_documented():
    section = PAGE.read_text().partition("### Outcomes\n")[2].partition("They count")[0]
    assert {word for word in re.findall(r"`(\w+)`", section) if word.islower()} == {
        *OUTCOMES.values(),
        WORKER_LOST,
        UNSENDABLE,
    }


def test_while_the_io_loop_hangs_the_counts_are_told_and_how_long_it_hangs(worker, server, monkeypatch):
    monkeypatch.setattr(http_server, "PATIENCE", 0.1)
    run_one(worker)
    thaw = threading.Event()
    worker.call_soon(thaw.wait)
    try:
        page = scrape(server.port)
    finally:
        thaw.set()
    assert page["amqtask_tasks_ended_total"]["succeeded", "amqtask", "buy"] == 1
    assert page["amqtask_io_loop_lag_seconds"][()] >= 0.1
    assert "amqtask_pool_slots" not in page
    wait_for(lambda: "amqtask_pool_slots" in scrape(server.port))


def test_other_paths_are_not_found(server):
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=60)
    with refused.value as answer:
        assert answer.read() == b"there is /metrics\n"


def test_a_pool_that_cannot_tell_its_state_costs_that_only(worker, server, caplog):
    worker.pool.running = lambda: 1 / 0
    page = scrape(server.port)
    assert "amqtask_pool_busy" not in page
    assert page["amqtask_io_loop_lag_seconds"][()] < http_server.PATIENCE  # it does not hang
    assert "can't be told" in caplog.text
    worker.pool.running = list
    assert scrape(server.port)["amqtask_pool_busy"] == {(): 0}


def test_a_taken_port_and_no_address_are_refused(worker, server):
    with pytest.raises(ConfigError, match=r"worker_metrics\): another process listens on 127.0.0.1"):
        MetricsServer(worker, f"127.0.0.1:{server.port}")
    with pytest.raises(ConfigError, match="write :8080"):
        MetricsServer(worker, "9808")
    with pytest.raises(ConfigError, match=r"can't listen on a\.\.b:80: not a host name"):
        MetricsServer(worker, "a..b:80")


def test_a_successor_has_the_port_and_who_was_replaced_answers_no_more(worker):
    old = MetricsStep(worker)
    old.start()
    port = old._server.port
    fresh = Worker(f"127.0.0.1:{port}")
    fresh.predecessor = 7
    new = MetricsStep(fresh)
    new.start()
    run_one(fresh)
    worker.successor = 8
    old.stopping()
    try:
        assert scrape(port)["amqtask_tasks_received_total"]["amqtask", "buy"] == 1
        new.stopping()
        assert scrape(port)
    finally:
        new.stop(lambda: None)
        fresh.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_a_worker_without_metrics_imports_nothing_for_them():
    program = """
import sys
from amqtask.worker.steps.base import steps
assert steps.get("metrics").__name__ == "MetricsStep"
print([name for name in sys.modules if "prometheus" in name or "worker.metrics" in name])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_a_missing_package_is_told_with_its_extra():
    program = """
import sys
sys.modules["prometheus_client"] = None
import amqtask.worker.metrics.page
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert "ConfigError: worker_metrics needs prometheus-client: pip install 'amqtask[metrics]'" in done.stderr


@pytest.mark.parametrize(
    ("where", "expected"),
    [(":9808", [":9808", ":9809"]), (" [::1]:1 ", ["[::1]:1", "[::1]:2"]), ("h:0", ["h:0", "h:0"])],
)
def test_each_pool_of_up_has_an_address_of_its_own(tmp_path, where, expected):
    routing = tmp_path / "routing.yaml"
    routing.write_text("version: 1\nqueues: {a: {}}\npools: {one: {queues: [a]}, two: {queues: [a]}}\n")
    app = Amqtask("pools", routing=routing, worker_metrics=where)
    assert [words[-2:] for words in pool_words(app).values()] == [["--metrics", one] for one in expected]


def test_a_port_with_too_few_after_it_is_refused(tmp_path):
    routing = tmp_path / "routing.yaml"
    routing.write_text("version: 1\nqueues: {a: {}}\npools: {one: {queues: [a]}, two: {queues: [a]}}\n")
    assert pool_words(Amqtask("pools", routing=routing, worker_metrics=":65534"))["two"][-1] == ":65535"
    app = Amqtask("pools", routing=routing, worker_metrics=":65535")
    with pytest.raises(ConfigError, match=r"2 pools .* 65535 is too high for that, choose 65534 or less"):
        pool_words(app)
