"""Celery's own remote control, unmodified, with a worker of amqtask: its command line and its ``app.control``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from interop import QUIET, SECONDS, Pair, paired
from nodes import Node
from waiting import wait_for

from amqtask.worker.options import node_name

pytestmark = [pytest.mark.rabbitmq, *QUIET]


@pytest.fixture(scope="module")
def pair(broker_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with paired(broker_node, tmp_path_factory.mktemp("control"), "celery", "amqtask", "threads", "rpc://") as made:
        yield made


def celery(pair: Pair, *words: str) -> str:
    """What ``celery -b URL ...`` prints; it must succeed. With a name it ends when that worker has answered."""
    named = ("-d", node_name(None), "-t", str(SECONDS))
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-b", pair.url, words[0], *named, *words[1:]]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def asked(pair: Pair, command: str, **arguments: object) -> object:
    """The only worker's answer to a request of Celery's client."""
    (reply,) = pair.app.control.broadcast(command, arguments, reply=True, timeout=SECONDS, limit=1)
    (value,) = reply.values()
    return value


def test_celery_status_lists_the_worker(pair: Pair) -> None:
    assert "1 node online" in celery(pair, "status")


def test_celery_inspect_shows_its_numbers(pair: Pair) -> None:
    (stats,) = json.loads(celery(pair, "inspect", "--json", "stats")).values()
    assert stats["pool"]["max-concurrency"] == 2


def test_celery_control_changes_a_limit(pair: Pair) -> None:
    assert "new rate limit set successfully" in celery(pair, "control", "rate_limit", "shop.add", "1000/s")


@pytest.mark.parametrize(
    ("command", "arguments", "answer"),
    [
        ("rate_limit", {"task_name": "shop.add", "rate_limit": 0}, {"ok": "rate limit disabled successfully"}),
        ("rate_limit", {"task_name": "shop.none", "rate_limit": 0}, {"error": "unknown task"}),
        ("time_limit", {"task_name": "shop.add", "hard": 100, "soft": 50}, {"ok": "time limits set successfully"}),
        ("pool_grow", {"n": 1}, {"ok": "pool will grow"}),
        ("pool_shrink", {"n": 1}, {"ok": "pool will shrink"}),
        ("autoscale", {"max": 5, "min": 1}, {"error": "ValueError('Autoscale not enabled')"}),
        ("enable_events", {}, {"ok": "task events enabled"}),
        ("enable_events", {}, {"ok": "task events already enabled"}),
        ("disable_events", {}, {"ok": "task events disabled"}),
        ("disable_events", {}, {"ok": "task events already disabled"}),
        ("heartbeat", {}, None),
        ("revoke", {"task_id": ["a2", "a1"]}, {"ok": "tasks {'a1', 'a2'} flagged as revoked"}),
        ("nosuch", {}, {"error": "KeyError('nosuch')"}),
    ],
)
def test_answers_are_worded_as_celery_s_workers_word_them(
    pair: Pair, command: str, arguments: dict[str, object], answer: object
) -> None:
    assert asked(pair, command, **arguments) == answer


def test_a_rate_limit_that_can_t_be_read_is_named(pair: Pair) -> None:
    answer = asked(pair, "rate_limit", task_name="shop.add", rate_limit="abc")
    assert isinstance(answer, dict)
    assert answer["error"].startswith("Invalid rate limit string: ")


def test_another_queue_is_consumed_on_request(pair: Pair) -> None:
    assert asked(pair, "add_consumer", queue="extra") == {"ok": "add consumer extra"}
    assert asked(pair, "add_consumer", queue="extra2", exchange="ex2", exchange_type="topic", routing_key="a.#") == {
        "ok": "add consumer extra2"
    }
    assert pair.sig("add", 1, 2).apply_async(queue="extra").get(timeout=SECONDS) == 3
    routed = pair.sig("add", 3, 4).apply_async(exchange="ex2", exchange_type="topic", routing_key="a.b")
    assert routed.get(timeout=SECONDS) == 7
    (queues,) = pair.app.control.inspect(timeout=SECONDS, limit=1).active_queues().values()
    assert [queue["name"] for queue in queues] == ["celery", "extra", "extra2"]
    assert queues[0]["exchange"]["name"] == "celery"
    assert asked(pair, "cancel_consumer", queue="extra") == {"ok": "no longer consuming from extra"}


def test_a_revoked_task_is_revoked_for_its_client(pair: Pair) -> None:
    result = pair.sig("add", 1, 1).apply_async(countdown=1)
    result.revoke()
    with pytest.raises(pair.exceptions.TaskRevokedError):
        result.get(timeout=SECONDS)


def test_a_running_task_is_stopped_for_its_client(pair: Pair) -> None:
    result = pair.sig("progress", "never").apply_async()
    wait_for(lambda: any(pair.app.control.inspect(timeout=SECONDS, limit=1).active().values()), SECONDS)
    result.revoke(terminate=True, signal="SIGKILL")
    with pytest.raises(pair.exceptions.TaskRevokedError):
        result.get(timeout=SECONDS)


def test_tasks_are_revoked_by_their_stamps(pair: Pair) -> None:
    signature = pair.sig("add", 1, 1)
    signature.stamp(batch="b7")
    result = signature.apply_async(countdown=1)
    pair.app.control.revoke_by_stamped_headers({"batch": ["b7"]})
    with pytest.raises(pair.exceptions.TaskRevokedError):
        result.get(timeout=SECONDS)
