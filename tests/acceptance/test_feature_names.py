"""Every name of a setting that tutorials use, under the name they use: one test each, seen to have its effect."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime

import psutil
import pytest
from seed_project import new_project
from waiting import wait_for

from amqtask import Amqtask, ConfigError
from amqtask.results.base import Record
from amqtask.tasks.options import TaskOptions
from amqtask.worker.followups.answers import answer

CONFIG = """\
from amqtask.contrib.celery.schedules import crontab

BROKER_POOL_LIMIT = 50
BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "Asia/Shanghai"
CELERY_INCLUDE = ["proj.tasks"]
CELERY_RESULT_BACKEND = "file://FOLDER/results"
CELERY_RESULT_SERIALIZER = CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_RESULT_EXPIRES = 3600
CELERY_TASK_TIME_LIMIT = 5
CELERYD_CONCURRENCY = 6
CELERYD_MAX_TASKS_PER_CHILD = 2
CELERYBEAT_SCHEDULER = "celery.beat:PersistentScheduler"
CELERYBEAT_SCHEDULE_FILENAME = "FOLDER/schedule.db"
CELERYBEAT_SCHEDULE = {"morning": {"task": "proj.tasks.quiet", "schedule": crontab(hour=8, minute=0)}}
CELERY_ANNOTATIONS = {"proj.tasks.quiet": {"ignore_result": True}}
"""
QUEUE = "amqtask"
SHORT = 30.0


@pytest.fixture(scope="module")
def project(broker_node, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    with new_project(broker_node, folder, CONFIG.replace("FOLDER", str(folder))) as made:
        yield made


@pytest.fixture(scope="module")
def worker(project):
    """One that runs as the configuration module says."""
    return project.start("worker", "-A", "proj", "-n", "w1")


def app_of(**settings):
    return Amqtask("x", config_source=settings)


def test_broker_url_reaches_the_connection(project, worker):
    assert project.app.send_task("proj.tasks.pid").get(timeout=SHORT) > 0


def test_broker_pool_limit_bounds_what_a_process_opens(project, worker):
    def sockets():
        return len(psutil.Process().net_connections("tcp"))

    project.app.send_task("proj.tasks.quiet")
    before = sockets()
    threads = [threading.Thread(target=project.app.send_task, args=("proj.tasks.quiet",)) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sockets() - before <= 0, "60 threads share what one has opened"


def test_broker_transport_options_are_accepted_and_those_of_redis_are_named_in_one_warning(caplog):
    app = app_of(BROKER_TRANSPORT_OPTIONS={"fanout_prefix": True, "max_connections": 400, "confirm_publish": True})
    told = [text for text in caplog.messages if "broker_transport_options has no effect" in text]
    assert len(told) == 1
    assert told[0].endswith("fanout_prefix, max_connections")
    assert app.conf.broker_transport_options["max_connections"] == 400


def test_celery_accept_content_dead_letters_other_messages(project, worker):
    sent = project.app.send_task("proj.tasks.pid", serializer="msgpack")

    def refused():
        return [letter for letter in project.dead(QUEUE) if letter.id == sent.id]

    (letter,) = wait_for(refused, SHORT)
    assert letter.reason == "refused_content"


def test_celery_timezone_is_the_zone_of_times_without_one(project):
    eight = datetime(2030, 1, 1, 8)  # noqa: DTZ001 -- the zone is the setting's
    message = project.app._wiring.messages.build("t", TaskOptions(), ((), {}), {"expires": eight})
    expires = datetime.fromisoformat(message.properties.headers["expires"])
    assert expires.astimezone(UTC) == datetime(2030, 1, 1, tzinfo=UTC)


def test_celery_timezone_is_the_zone_of_schedules(project):
    shown = project.start("schedule", "next", "-n", "2", "-A", "proj", ready=False)
    assert shown.wait() == 0
    assert "08:00:00+08:00" in shown.text()


def test_celery_include_registers_the_tasks_of_a_module(project, worker):
    assert "proj.tasks.pid" not in project.app.tasks, "the sender has not imported it"
    assert project.app.send_task("proj.tasks.sleepy", (0,)).get(timeout=SHORT) == "slept"


def test_celerybeat_scheduler_of_celery_is_mapped_to_ours_and_keeps_its_file(project):
    assert project.app.conf.beat_scheduler == "token"
    beat = project.start("-A", "proj", "beat", ready=False)
    beat.wait_for_log("Leading")
    wait_for((project.folder / "schedule.db").exists, SHORT)
    assert beat.stop() == 0


def test_celery_result_backend_keeps_results(project, worker):
    sent = project.app.send_task("proj.tasks.pid")
    sent.get(timeout=SHORT)
    files = [file for file in (project.folder / "results").rglob("*") if sent.id in file.name]
    assert len(files) == 1


def test_celery_serializers_are_seen_on_the_wire_and_in_the_backend(project, worker):
    message = project.app._wiring.messages.build("t", TaskOptions(), ((1,), {}), None)
    assert message.properties.content_type == "application/json"
    assert json.loads(message.body)[0] == [1]
    assert Amqtask("x", config_source={"CELERY_RESULT_SERIALIZER": "yaml"}).conf.result_serializer == "yaml"


@pytest.mark.parametrize("persistent", [True, False])
def test_celery_result_persistent_is_the_delivery_mode_of_answers(persistent):
    app = app_of(CELERY_RESULT_PERSISTENT=persistent)
    message = answer(Record("1", "SUCCESS", b"{}", reply_to="q"), persistent=app.conf.result_persistent)
    assert message.properties.delivery_mode == (2 if persistent else 1)


def test_celery_task_result_expires_is_the_age_of_results(project):
    assert project.app.conf.result_expires == 3600
    assert app_of(CELERY_TASK_RESULT_EXPIRES=None).conf.result_expires == 0


def test_celery_task_time_limit_stops_tasks(project, worker):
    sent = project.app.send_task("proj.tasks.sleepy", (60,))
    with pytest.raises(Exception, match="imit"):
        sent.get(timeout=SHORT)


@pytest.mark.parametrize("name", ["CELERY_TASK_IGNORE_RESULT", "CELERY_IGNORE_RESULT"])
def test_celery_ignore_result_stores_nothing(project, worker, name):
    assert app_of(**{name: True}).conf.task_ignore_result is True
    sent = project.app.send_task("proj.tasks.quiet", ignore_result=True)
    project.app.send_task("proj.tasks.pid").get(timeout=SHORT)
    wait_for(lambda: worker.count(rf"proj.tasks.quiet\[{sent.id}\] succeeded"), SHORT)
    assert not [file for file in (project.folder / "results").rglob("*") if sent.id in file.name]


def test_celeryd_concurrency_is_the_number_of_children(project, worker):
    sent = [project.app.send_task("proj.tasks.sleepy", (0.1,)) for _ in range(6)]
    for one in sent:
        one.get(timeout=SHORT)
    assert worker.count("concurrency +6") == 1


def test_celeryd_max_tasks_per_child_replaces_children(project, worker):
    pids = [project.app.send_task("proj.tasks.pid").get(timeout=SHORT) for _ in range(14)]
    assert max(pids.count(pid) for pid in pids) <= 2


@pytest.mark.parametrize("number", [1024, 60])
def test_celery_redis_max_connections_bounds_the_pool(number):
    assert app_of(CELERY_REDIS_MAX_CONNECTIONS=number).settings.result_backend_max_connections == number


def test_celery_queues_and_routes_are_taken_unchanged_but_for_the_import():
    from amqtask import Exchange, Queue

    config = {
        "CELERY_QUEUES": (
            Queue("default", Exchange("default"), routing_key="default"),
            Queue("for_task_A", Exchange("for_task_A"), routing_key="for_task_A"),
            Queue("for_task_B", Exchange("for_task_B"), routing_key="for_task_B"),
        ),
        "CELERY_ROUTES": {
            "my_taskA": {"queue": "for_task_A", "routing_key": "for_task_A"},
            "my_taskB": {"queue": "for_task_B", "routing_key": "for_task_B"},
        },
    }
    app = Amqtask("x", config_source=config)
    assert {"default", "for_task_A", "for_task_B"} <= set(app.topology.queues)
    for letter in "AB":
        routing = app.router.route(f"my_task{letter}")
        assert app.router.queues_for(routing.exchange, routing.routing_key, {}) == [f"for_task_{letter}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_soft_time_limit", 60),
        ("task_time_limit", 120),
        ("task_default_rate_limit", "200/m"),
        ("worker_max_tasks_per_child", 100),
        ("worker_max_memory_per_child", 12_000),
        ("beat_schedule", {"add": {"task": "tasks.add", "schedule": 30.0, "args": (16, 16)}}),
    ],
)
def test_names_of_today_are_the_same(name, value):
    app = Amqtask("x")
    setattr(app.conf, name, value)
    assert getattr(app.conf, name) == value


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("max_tasks_per_child_settings", "worker_max_tasks_per_child"),
        ("max_memory_per_child", "worker_max_memory_per_child"),
        ("time_limits", "task_time_limit"),
    ],
)
def test_names_that_are_nearly_right_are_refused_with_the_right_one(name, meant):
    with pytest.raises(ConfigError, match=f"unknown setting {name!r}; did you mean {meant!r}"):
        Amqtask("x").conf.update({name: 1})


def test_old_names_are_told_in_one_line(project, caplog):
    with caplog.at_level(logging.WARNING):
        app_of(CELERYD_CONCURRENCY=6, CELERY_TIMEZONE="UTC")
    assert len(caplog.messages) == 1
    assert "CELERYD_CONCURRENCY is worker_concurrency" in caplog.messages[0]
