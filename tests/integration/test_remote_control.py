"""Remote control of running workers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from nodes import Node
from waiting import wait_for
from worker_process import Site, WorkerProcess, new_site

from amqtask.broker.admin import Admin
from amqtask.control.client import Control
from amqtask.control.messages import Names
from amqtask.control.registry import commands
from amqtask.errors import AccessRefused
from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.control.commands import load_commands

WORKER = ("-P", "threads", "-c", "2", "-n", "w1@h")
NAMES = Names("celery")


@pytest.fixture(scope="module")
def place(broker_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with one worker, for tests that leave it as it was."""
    with new_site(broker_node, tmp_path_factory.mktemp("control")) as site:
        site.worker(*WORKER)
        yield site


def one(site: Site, command: str, node: str = "w1@h", **arguments: object) -> Any:
    """What the node answers."""
    replies = site.app.control.broadcast(command, arguments, [node], reply=True, timeout=60)
    (reply,) = replies or [{}]
    assert list(reply) == [node]
    return reply[node]


def test_a_named_worker_answers_at_once(place: Site) -> None:
    assert place.app.control.inspect(["w1@h"], timeout=600).ping() == {"w1@h": {"ok": "pong"}}


def test_a_worker_that_is_not_there_answers_nothing(place: Site) -> None:
    assert place.app.control.inspect(["w9@h"], timeout=0.3).ping() is None


def test_it_is_matched_by_a_pattern(place: Site) -> None:
    control = place.app.control
    assert control.ping(timeout=60, limit=1, pattern="w*@h", matcher="glob") == [{"w1@h": {"ok": "pong"}}]
    assert control.ping(timeout=0.3, pattern="x*@h", matcher="glob") == []


def test_with_every_slot_taken_it_answers_what_runs_and_what_waits(place: Site) -> None:
    ids = [place.send("hold", f"full{n}") for n in range(2)]
    place.wait_event("start", "full0", "full1")
    active = one(place, "active")
    assert isinstance(active, list)
    assert {task["id"] for task in active} == set(ids)
    assert {(task["type"], task["args"][0][:4], task["kwargs"] == {}) for task in active} == {("hold", "full", True)}
    assert all(abs(time.time() - task["time_start"]) < 60 and task["worker_pid"] for task in active)
    (safe,) = [task for task in one(place, "active", safe=True) if task["id"] == ids[0]]
    assert safe["args"] == "('full0',)"
    (state, told) = one(place, "query_task", ids=[*ids, "nope"])[ids[0]]
    assert (state, told["id"]) == ("active", ids[0])
    assert one(place, "scheduled") == []
    place.open_gate("full0")
    place.open_gate("full1")
    place.wait_done("full0", "full1")


def test_what_waits_for_a_rate_limit_is_reserved(place: Site) -> None:
    assert one(place, "rate_limit", task_name="note", rate_limit="1/h") == {"ok": "new rate limit set successfully"}
    ids = {place.send("note", f"slow{number}") for number in range(3)}

    def reserved() -> set[str]:
        return {task["id"] for task in one(place, "reserved")}

    wait_for(lambda: len(reserved()) == 2 and reserved() < ids)
    assert one(place, "rate_limit", task_name="note", rate_limit=0) == {"ok": "rate limit disabled successfully"}
    place.wait_done("slow0", "slow1", "slow2")


def test_stats_have_celery_s_fields_and_no_password(place: Site) -> None:
    stats = one(place, "stats")
    assert isinstance(stats, dict)
    assert {"total", "pid", "clock", "uptime", "pool", "broker", "prefetch_count", "rusage"} <= stats.keys()
    assert stats["pool"]["max-concurrency"] == 2
    assert len(stats["rusage"]) == 16
    assert {"hostname", "userid", "virtual_host", "port", "heartbeat", "transport"} <= stats["broker"].keys()
    assert "guest:guest" not in str([stats, one(place, "conf", with_defaults=True), one(place, "report")])


def test_it_tells_its_tasks_queues_and_threads(place: Site) -> None:
    assert "note" in one(place, "registered")
    (queue,) = one(place, "active_queues")
    assert (queue["name"], queue["routing_key"]) == ("work", "work")
    assert one(place, "prefetch") == {"work": 2}
    assert "thread amqtask-io" in one(place, "stack")["ok"]
    assert one(place, "connections")["consume"]["connected"] is True


def test_every_question_is_answered_where_gevent_has_patched_what_waits(site: Site) -> None:
    load_commands()
    ours = [one for one in commands.values() if one.function.__module__.startswith("amqtask.")]
    questions = {one.name: {one.variadic: []} if one.variadic else {} for one in ours if one.kind == "inspect"}
    assert len(questions) > 15
    worker = site.worker("-P", "gevent", "-n", "w1@h")
    answers = {name: one(site, name, **arguments) for name, arguments in questions.items()}
    assert [(name, told) for name, told in answers.items() if "error" in (told or ())] == []
    assert "Traceback" not in worker.text()


def test_a_command_of_the_app_s_own_is_answered(place: Site) -> None:
    assert one(place, "crew_size", factor=2) == {"size": 14}
    assert place.app.control.inspect(["w1@h"], timeout=60).ask("crew_size") == {"w1@h": {"size": 7}}


def test_limits_of_unknown_tasks_can_t_be_set(place: Site) -> None:
    assert one(place, "rate_limit", task_name="nosuch", rate_limit="1/s") == {"error": "unknown task"}
    assert one(place, "time_limit", task_name="nosuch", soft=1) == {"error": "unknown task"}
    assert one(place, "time_limit", task_name="note", soft=10, hard=20) == {"ok": "time limits set successfully"}
    assert one(place, "autoscale", max=3, min=1) == {"error": "ValueError('Autoscale not enabled')"}


def test_hostile_messages_do_no_harm(place: Site) -> None:
    bodies = [b"", b"{", b"[[]]", b"\x80\x05.", b'{"method": 1}', b'{"method": "ping", "reply_to": 5}', b"[" * 99_999]
    kinds = [Properties("application/json", "utf-8"), Properties("application/x-python-serialize"), Properties(None)]
    for body in bodies:
        for kind in kinds:
            place.admin.publish(Outgoing(NAMES.requests, "", kind, body))
    elsewhere = b'{"method": "ping", "reply_to": {"exchange": "", "routing_key": "work"}}'
    place.admin.publish(Outgoing(NAMES.requests, "", kinds[0], elsewhere))
    assert one(place, "ping") == {"ok": "pong"}
    assert place.ready("work") == 0


def test_a_pool_grows_and_shrinks(place: Site) -> None:
    assert one(place, "pool_grow", n=1) == {"ok": "pool will grow"}
    wait_for(lambda: one(place, "prefetch") == {"work": 3})
    assert one(place, "pool_shrink", n=1) == {"ok": "pool will shrink"}
    assert "error" in one(place, "pool_grow", n="many")


def test_what_can_not_be_done_is_not_said_to_be_done(place: Site) -> None:
    assert one(place, "pool_shrink", n=50) == {"ok": "pool will shrink"}
    assert "error" in one(place, "pool_shrink", n=50)  # one slot is the least
    one(place, "pool_grow", n=1)
    assert "did you mean 'work'" in one(place, "pause", queue="wrk")["error"]
    assert "did you mean 'work'" in one(place, "resume", queue="wrk")["error"]


def test_an_election_is_won_once(place: Site) -> None:
    action = {"task": "note", "args": ["elected"], "kwargs": {}, "options": {"queue": "work"}}
    for _ in range(2):
        place.app.control.broadcast("election", {"id": "e1", "topic": "task", "action": action})
    place.wait_done("elected")
    assert one(place, "ping") == {"ok": "pong"}
    assert place.labels("done")["elected"] == 1


def test_a_queue_is_no_longer_consumed_and_then_again(place: Site) -> None:
    assert one(place, "cancel_consumer", queue="work") == {"ok": "no longer consuming from work"}
    wait_for(lambda: (state := place.admin.queue_state("work")) and state.consumers == 0)
    assert one(place, "active_queues") == []
    assert one(place, "add_consumer", queue="work", exchange=None, routing_key=None) == {"ok": "add consumer work"}
    place.send("note", "consumed")
    place.wait_done("consumed")
    assert "error" in one(place, "cancel_consumer", queue="wrok")
    assert "did you mean 'work'" in one(place, "add_consumer", queue="wrok")["error"]


def test_nothing_is_left_of_one_who_asks_and_is_killed(place: Site) -> None:
    program = (
        "import sys; from amqtask import Amqtask\n"
        "for _ in Amqtask('asks', broker=sys.argv[1]).control.stream('ping', {}, None, 60): print('heard', flush=True)"
    )
    asker = subprocess.Popen([sys.executable, "-c", program, place.url], stdout=subprocess.PIPE)
    assert asker.stdout is not None
    assert asker.stdout.readline() == b"heard\n"
    assert one(place, "clock")["clock"] > 0
    asker.send_signal(signal.SIGKILL)
    asker.wait()
    asker.stdout.close()
    assert one(place, "ping") == {"ok": "pong"}


def test_two_workers_can_t_have_one_name_that_was_chosen(place: Site) -> None:
    second = place.worker(*WORKER, ready=False)
    assert second.wait() == 78
    assert "another worker is named w1@h; give this one another name" in second.text()
    assert one(place, "ping") == {"ok": "pong"}


def test_the_name_of_a_worker_that_does_not_answer_is_waited_for(site: Site) -> None:
    first = site.worker(*WORKER)
    first.send_signal(signal.SIGSTOP)
    second = site.worker(*WORKER)
    second.wait_for_log("where no w1@h answers")
    first.kill()
    second.wait_for_log("reaches this worker again")
    assert one(site, "ping") == {"ok": "pong"}
    assert second.stop() == 0


def test_a_worker_does_without_remote_control_when_told_so(site: Site) -> None:
    worker = site.worker(*WORKER, worker_enable_remote_control="false")
    with pytest.raises(AccessRefused):
        _taken(site.admin)
    site.send("note", "a")
    site.wait_done("a")
    assert worker.stop() == 0


def _taken(admin: Admin) -> None:
    if admin.queue_state("w1@h.celery.pidbox") is None:
        raise AccessRefused("not there")


def test_it_answers_again_after_a_lost_connection_and_until_its_end(site: Site) -> None:
    worker: WorkerProcess = site.worker(*WORKER)
    control: Control = site.app.control
    site.send("hold", "long")
    site.wait_event("start", "long")
    worker.send_signal(signal.SIGTERM)
    worker.wait_for_log("Waiting up to")
    assert len(control.inspect(["w1@h"], timeout=60).active()["w1@h"]) == 1
    site.open_gate()
    assert worker.wait() == 0
    assert control.ping(timeout=0.2) == []
