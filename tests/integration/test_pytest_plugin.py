"""The pytest plugin as a whole: what it does to test suites that use it, and to those that don't."""

from __future__ import annotations

import os

import pytest
from nodes import Node, RabbitNode

pytest_plugins = ["pytester"]

TASKS = """
import threading
from amqtask import Amqtask, Queue
app = Amqtask("proj", task_queues=[Queue("work", type="classic")], task_serializer="json")
gate = threading.Event()

@app.task
def add(a, b):
    return a + b

@app.task
def waits():
    gate.wait(60)
"""


@pytest.fixture(autouse=True)
def _no_broker_from_outside(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("AMQTASK_", "PYTEST_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def project(pytester):
    """A project whose app is at proj.tasks."""
    pytester.makepyfile(**{"proj/__init__": "", "proj/tasks": TASKS})
    pytester.makeini(
        "[pytest]\namqtask_app_path = proj.tasks\npythonpath = .\nfilterwarnings = error\naddopts = --strict-markers"
    )
    return pytester


def run(pytester, tests, *options):
    """Run tests in a process of their own; the module under test is theirs alone."""
    pytester.makepyfile(test_it=tests)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)


def test_loading_it_loads_nothing_else(pytester):
    result = run(
        pytester,
        """
        import sys, threading

        def test_nothing():
            loaded = {name.partition(".")[0] for name in sys.modules}
            assert not loaded & {"pika", "aio_pika", "pamqp", "msgpack", "yaml"}
            assert {name for name in sys.modules if name.startswith("amqtask")} == {
                "amqtask", "amqtask.version", "amqtask.testing", "amqtask.testing.plugin"
            }
            assert threading.active_count() == 1
        """,
        "--strict-markers",
    )
    result.assert_outcomes(passed=1)


def test_fixtures_of_the_same_names_belong_to_the_project(pytester):
    result = run(
        pytester,
        """
        import pytest

        @pytest.fixture
        def published():
            return "books"

        @pytest.fixture
        def drain(published):
            return f"no {published}"

        def test_own(drain):
            assert drain == "no books"
        """,
    )
    result.assert_outcomes(passed=1)


def test_it_is_explained_how_to_name_the_app(pytester):
    result = run(pytester, "def test_it(drain): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*which app is to be tested? Set amqtask_app_path in pytest's configuration*"])


def test_path_that_leads_nowhere_is_named(pytester):
    pytester.makeini("[pytest]\namqtask_app_path = nowhere.tasks")
    result = run(pytester, "def test_it(drain): pass")
    result.stdout.fnmatch_lines(["*there is no module 'nowhere.tasks'*"])


def test_app_and_settings_can_be_given_by_fixtures(pytester):
    pytester.makepyfile(tasks=TASKS)
    result = run(
        pytester,
        """
        import pytest
        from tasks import add, app

        @pytest.fixture
        def amqtask_app_path():
            return app

        @pytest.fixture
        def amqtask_settings():
            return {"task_serializer": "msgpack", "task_default_priority": 3}

        def test_settings(amqtask_app, published):
            assert str(app.configuration.origin("task_serializer")) == "override"
            add.delay(1, 2)
            [one] = published()
            assert (one.message.properties.content_type, one.priority) == ("application/x-msgpack", 3)

        def test_prefork_needs_a_path(amqtask_worker):
            with pytest.raises(Exception, match="let amqtask_app_path be a text"):
                amqtask_worker(pool="prefork")
        """,
    )
    result.assert_outcomes(passed=2)


def test_app_that_was_used_before_is_what_it_was_after_the_test(project):
    result = run(
        project,
        """
        from proj.tasks import app
        before = app.topology, app.settings, app.producer

        def test_one(amqtask_app, drain):
            assert app.producer is not before[2]
            drain()

        def test_two():
            assert (app.topology, app.settings, app.producer) == before
            assert app.conf.broker_url == ("amqp://guest:guest@localhost:5672/",)
        """,
    )
    result.assert_outcomes(passed=2)


def test_failed_assertion_shows_the_test_and_not_the_plugin(project):
    result = run(
        project,
        """
        from proj.tasks import add

        def test_it(published):
            add.delay(1, b=2)
            published(task="proj.tasks.add", args=(1, 2))
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *no message for task 'proj.tasks.add' with args (1, 2) was published; there are:",
            "*1. proj.tasks.add(1, b=2)*",
        ]
    )
    result.stdout.no_fnmatch_line("*published.py:*: AssertionError")


def test_task_that_does_not_end_is_an_error_of_its_test(project):
    result = run(
        project,
        """
        import time
        from proj.tasks import waits, gate

        def test_it(amqtask_worker):
            worker = amqtask_worker(shutdown_timeout=0.1)
            waits.delay()
            while not worker.deeds.busy:
                time.sleep(0.01)

        def test_next(drain):
            gate.set()
            assert drain().succeeded == 0
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*still running 0.1 s after the end was asked for: proj.tasks.waits*"])


def test_marker_without_fixtures_is_refused(project):
    result = run(
        project,
        """
        import pytest

        @pytest.mark.redelivered
        def test_it():
            pass
        """,
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*@pytest.mark.redelivered does nothing without amqtask's fixtures*"])


def test_marker_is_documented(pytester):
    pytester.runpytest_inprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.redelivered(times=1): *"])


def test_nothing_is_left_after_the_session(project):
    result = run(
        project,
        """
        import atexit, os, threading

        def look():
            left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
            print("LEFT", left, len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 1)

        atexit.register(look)
        from proj.tasks import add

        def test_it(amqtask_worker, drain):
            amqtask_worker(pool="asyncio")
            amqtask_worker(pool="solo")
            add.delay(1, 2)
            assert drain().succeeded == 1
        """,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["LEFT [[]] 1"])


# -- on a RabbitMQ


MIXED = """
    import pytest
    from proj.tasks import add
    from amqtask.testing import NeedsDevBroker

    @pytest.mark.parametrize("pool", ["threads", "asyncio", "prefork"])
    def test_drain(amqtask_worker, drain, dead, pool):
        amqtask_worker(pool=pool)
        for number in range(20):
            add.delay(number, 2)
        add.apply_async(("x", 3))
        add.apply_async((1, 3), countdown=3600)
        done = drain(timeout=30)
        assert (done.succeeded, done.retried + done.dead, done.delayed) == (20, 1, 1)
        assert len(dead()) == done.dead

    def test_what_does_not_work(amqtask_app, amqtask_broker, amqtask_clock, published):
        for call in (published, amqtask_broker.drop_connections, lambda: amqtask_clock.advance(1)):
            with pytest.raises(NeedsDevBroker, match="needs the dev broker, and these tests run on a RabbitMQ"):
                call()

    @pytest.mark.redelivered
    def test_marker(drain):
        pass
"""


@pytest.mark.rabbitmq
@pytest.mark.rabbitmq_only("tests of projects on a RabbitMQ")
def test_the_same_tests_run_on_a_rabbitmq(project, broker_node: Node):
    assert isinstance(broker_node, RabbitNode)
    if not broker_node.has_api:
        pytest.skip("the management API of this RabbitMQ is not known")
    where = [
        "--amqtask-broker",
        broker_node.url,
        "--amqtask-management",
        broker_node.addresses["BROKER_MANAGEMENT_URL"],
    ]
    result = run(project, MIXED, *where)
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*NeedsDevBroker: amqtask_broker.redeliver_acked() needs the dev broker*"])
    assert b"amqtask-test-" not in broker_node.api("GET", "vhosts?columns=name")


def test_rabbitmq_without_management_api_is_explained(project):
    project.makeini(
        "[pytest]\namqtask_app_path = proj.tasks\npythonpath = .\n"
        "amqtask_broker = amqp://127.0.0.1:1/\namqtask_management = http://127.0.0.1:1"
    )
    result = run(project, "def test_it(drain): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*need its management API, to make a vhost for each test; http://127.0.0.1:1 says: *--amqtask-management*"]
    )
