"""The monitor with a broker and a worker: what it shows, its API, and what it changes."""

from __future__ import annotations

import logging

import pytest
from starlette.testclient import TestClient
from waiting import wait_for
from watched_shop import make_shop

from amqtask import chain
from amqtask.monitor.options import Options
from amqtask.monitor.server import monitoring
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

NODE = "w1@here"
HOSTILE = "<script>alert(1)</script>"


def worker_of(app):
    return EmbeddedWorker(
        app, resolve(Requested(pool="threads", hostname=NODE, queues=("work",)), app.topology, app.settings)
    )


@pytest.fixture
def app(vhost_url):
    made = make_shop(vhost_url)
    yield made
    made.close()


def opened(asgi):
    client = TestClient(asgi, base_url="http://127.0.0.1:5555")
    wait_for(lambda: client.get("/api/workers", params={"status": 1}).json().get(NODE))
    return client


def post(client, path, **given):
    answer = client.post(path, **given)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_programs_see_workers_tasks_and_queues_as_flower_shows_them(app):
    with worker_of(app), monitoring(app, Options()) as asgi:
        client = opened(asgi)
        good, bad = app.tasks["add"].delay(1, y=2), app.tasks[HOSTILE].delay()
        ended = {"SUCCESS", "FAILURE"}
        tasks = wait_for(lambda: _ended(client, ended, 2))
        assert tasks[good.id]["result"] == "3"
        assert (tasks[good.id]["args"], tasks[good.id]["kwargs"]) == ("(1,)", "{'y': 2}")
        assert (tasks[bad.id]["name"], tasks[bad.id]["exception"]) == (HOSTILE, "ValueError('<b>no</b>')")
        assert client.get("/api/task/types").json() == {"task-types": sorted([HOSTILE, "add"])}
        assert client.get(f"/api/task/info/{good.id}").json()["worker"] == NODE
        assert client.get("/api/task/info/unknown").status_code == 404
        assert list(client.get("/api/tasks", params={"state": "FAILURE"}).json()) == [bad.id]
        assert list(client.get("/api/tasks", params={"taskname": "add", "limit": 1}).json()) == [good.id]
        assert list(client.get("/api/tasks", params={"sort_by": "-name", "offset": 1}).json()) == [bad.id]
        assert client.get("/api/tasks", params={"sort_by": "colour"}).status_code == 400
        assert client.get("/api/tasks", params={"received_start": "yesterday"}).status_code == 400
        assert client.get("/api/tasks", params={"received_start": "2100-01-01 00:00"}).json() == {}
        worker = client.get("/api/workers", params={"workername": NODE}).json()[NODE]
        assert "add" in worker["registered"]
        assert worker["stats"]["pool"]["max-concurrency"] > 0
        assert [queue["name"] for queue in worker["active_queues"]] == ["work"]
        assert {"name": "work", "messages": 0} in client.get("/api/queues/length").json()["active_queues"]
        assert client.get("/healthcheck").text == "OK"


def _ended(client, states, count):
    tasks = client.get("/api/tasks").json()
    return tasks if len([one for one in tasks.values() if one["state"] in states]) == count else None


def test_programs_send_tasks_and_read_results(app):
    with worker_of(app), monitoring(app, Options()) as asgi:
        client = opened(asgi)
        assert post(client, "/api/task/apply/add", json={"args": [1], "kwargs": {"y": 2}})["result"] == 3
        failed = post(client, f"/api/task/apply/{HOSTILE}", json={})
        assert failed["state"] == "FAILURE"
        assert "ValueError" in failed["traceback"]
        sent = post(client, "/api/task/async-apply/add", json={"args": [2, 3], "countdown": 0})
        found = client.get(f"/api/task/result/{sent['task-id']}", params={"timeout": 10})
        assert found.json()["state"] in {"SUCCESS", "PENDING"}  # rpc: answers go to who has asked
        assert post(client, "/api/task/send-task/elsewhere.task", json={"queue": "work"}).keys() == {"task-id", "state"}
        assert client.post("/api/task/apply/unknown").status_code == 404
        for wrong in ("[]", "{", '{"args": 1}', '{"kwargs": []}', '{"eta": "soon"}', '{"no_such_option": 1}'):
            assert client.post("/api/task/async-apply/add", content=wrong).status_code == 400, wrong


def test_programs_change_workers_and_tasks_and_the_log_tells_who(app, caplog):
    caplog.set_level(logging.INFO, "amqtask.monitor.audit")
    with worker_of(app) as worker, monitoring(app, Options()) as asgi:
        client = opened(asgi)
        client.headers["Authorization"] = "Basic eDp5"  # nobody has asked for it, so it names nobody
        post(client, f"/api/worker/queue/add-consumer/{NODE}", data={"queue": "more"})
        post(client, f"/api/worker/queue/cancel-consumer/{NODE}", params={"queue": "more"})
        post(client, f"/api/worker/pool/grow/{NODE}", params={"n": 1})
        post(client, "/api/task/rate-limit/add", data={"workername": NODE, "ratelimit": "10/s"})
        post(client, "/api/task/timeout/add", data={"workername": NODE, "soft": "5", "hard": "9"})
        post(client, "/api/task/revoke/some-id")
        assert (
            client.post("/api/task/rate-limit/unknown", data={"workername": NODE, "ratelimit": "1/s"}).status_code
            == 403
        )
        assert client.post("/api/worker/pool/grow/nobody@there").status_code == 404
        assert client.post(f"/api/worker/queue/add-consumer/{NODE}").status_code == 400
        post(client, f"/api/worker/shutdown/{NODE}")
        wait_for(lambda: not client.get("/api/workers", params={"status": 1}).json())
        assert worker is not None
    lines = [record.getMessage() for record in caplog.records if record.name == "amqtask.monitor.audit"]
    twins = [line.split(": ")[1] for line in lines]
    assert twins == [
        f"amqtask control add_consumer queue=more -d {NODE}",
        f"amqtask control cancel_consumer queue=more -d {NODE}",
        f"amqtask control pool_grow n=1 -d {NODE}",
        f"amqtask control rate_limit task_name=add rate_limit=10/s -d {NODE}",
        f"amqtask control time_limit task_name=add soft=5.0 hard=9.0 -d {NODE}",
        "amqtask control revoke some-id",
        f"amqtask control rate_limit task_name=unknown rate_limit=1/s -d {NODE}",
        f"amqtask control shutdown -d {NODE}",
    ]
    assert all(line.startswith("testclient: ") for line in lines)


def test_a_read_only_monitor_shows_everything_and_changes_nothing(app):
    with worker_of(app) as worker, monitoring(app, Options(read_only=True)) as asgi:
        client = opened(asgi)
        assert client.get("/api/queues/length").status_code == 200
        for path in (f"/api/worker/shutdown/{NODE}", "/api/task/apply/add", "/api/task/revoke/x"):
            assert client.post(path).status_code == 403
        assert not worker.counts.ended


def test_the_source_tells_of_queues_dead_letters_and_schedules(app):
    from amqtask.monitor.actions import Actions
    from amqtask.monitor.collector import Collector
    from amqtask.monitor.dead import DeadDesk
    from amqtask.monitor.source import Source

    desk = DeadDesk(app)
    source = Source(app, Collector(app, Options()), desk)
    actions = Actions(app, desk, source.forget)
    with worker_of(app) as worker:
        app.tasks[HOSTILE].delay()
        wait_for(lambda: worker.counts.ended)
        wait_for(lambda: (source.forget(), source.queues().rows[0].dead)[1])
    letters = source.dead_letters("work")
    (letter,) = letters.rows
    assert (letters.total, letter.task, letter.exception, letter.args) == (1, HOSTILE, "ValueError", "()")
    assert letter.headers["task"] == HOSTILE
    actions.queue_pause("ann", "work")
    assert source.queues().rows[0].paused
    assert actions.dead_retry("ann", "work", [letter.id]) == "1 message put back into work"
    assert source.dead_letters("work").rows == ()
    assert source.queues().rows[0].ready == 1
    assert actions.queue_purge("ann", "work") == "1 message purged from work"
    actions.queue_resume("ann", "work")
    assert not source.queues().rows[0].paused
    (schedule,) = source.schedules().rows
    assert (schedule.name, schedule.task, schedule.when, schedule.paused) == ("nightly", "add", "every 1d", False)
    actions.schedule_pause("ann", "nightly")
    assert source.schedules().rows[0].paused


def test_a_tree_of_tasks_is_shown_as_one(app):
    with worker_of(app), monitoring(app, Options()) as asgi:
        client = opened(asgi)
        add = app.tasks["add"]
        last = chain(add.s(1, 2), add.s(3)).delay()
        tasks = wait_for(lambda: _ended(client, {"SUCCESS"}, 2))
        assert tasks[last.id]["parent_id"] == last.parent.id
        assert tasks[last.parent.id]["children"] == [last.id]


def test_a_monitor_without_a_broker_says_so_and_keeps_answering():
    lost = make_shop("amqp://127.0.0.1:1/")
    with monitoring(lost, Options()) as asgi:
        client = TestClient(asgi, base_url="http://127.0.0.1:5555")
        assert client.get("/healthcheck").status_code == 200
        assert client.get("/api/tasks").json() == {}
        answer = client.get("/api/queues/length")
        assert answer.status_code == client.get("/api/workers?refresh=1").status_code == 503
        assert "127.0.0.1:1" in answer.text
        wait_for(lambda: "127.0.0.1:1" in client.get("/").text)
        refused = client.post("/api/task/revoke/x")
        assert refused.status_code == 503
        assert refused.text.startswith("the broker is away")
    lost.close()
