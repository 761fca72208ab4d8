"""``@app.task(...)``: names, options and their errors."""

from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from amqtask import Amqtask, AsyncTask, ConfigError, RetryPolicy, Task, UnknownTask
from amqtask.tasks.options import UNSET


@pytest.fixture
def app():
    return Amqtask("shop")


def declared(app, **options):
    @app.task(**options)
    def work(*args):
        return args

    return work


def test_a_bare_decorator_names_the_task_after_module_and_function(app):
    @app.task
    def add(a, b):
        """Adds."""
        return a + b

    assert add.name == f"{__name__}.add"
    assert add(1, 2) == 3
    assert (add.__name__, add.__doc__) == ("add", "Adds.")
    assert app.tasks[add.name] is add


def test_coroutine_functions_become_async_tasks(app):
    @app.task
    async def wait():
        pass

    assert isinstance(wait, AsyncTask)
    assert wait.is_async
    assert not declared(app).is_async


def test_every_option_is_kept(app):
    task = declared(
        app,
        name="own",
        bind=True,
        queue="emails",
        priority=7,
        retry=["5s", 30, timedelta(minutes=5)],
        max_retries=None,
        default_retry_delay="1m",
        autoretry_for=OSError,
        dont_autoretry_for=[KeyError, ValueError],
        retry_kwargs={"countdown": 3},
        retry_backoff=True,
        retry_backoff_max=60,
        retry_jitter=False,
        acks_late=False,
        expires=timedelta(hours=1),
        serializer="json",
        compression="zlib",
        ignore_result=True,
    )
    options = task.options
    assert task.name == "own"
    assert options.retry == RetryPolicy(
        delays=(timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)), max_retries=3
    )
    assert (options.max_retries, task.max_retries, task.default_retry_delay) == (None, None, 60.0)
    assert (options.autoretry_for, options.dont_autoretry_for) == ((OSError,), (KeyError, ValueError))
    assert (options.retry_backoff, options.retry_backoff_max, options.expires) == (1.0, 60.0, 3600.0)


def test_options_left_out_are_celerys_defaults(app):
    task = declared(app)
    assert (task.max_retries, task.default_retry_delay) == (3, 180.0)
    assert task.options.max_retries is UNSET
    assert (task.options.retry_backoff_max, task.options.retry_jitter) == (600.0, True)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("max_retry", "max_retries"),
        ("serialiser", "serializer"),
        ("retry_backof", "retry_backoff"),
        ("ack_late", "acks_late"),
        ("autoretry", "autoretry_for"),
    ],
)
def test_an_unknown_option_is_a_type_error_that_names_the_nearest(app, given, meant):
    with pytest.raises(TypeError, match=f"unknown task option '{given}'; did you mean '{meant}'"):
        declared(app, **{given: 1})


def test_an_unknown_option_without_a_neighbour_lists_them_all(app):
    with pytest.raises(TypeError, match="unknown task option 'colour_scheme'; there are acks_late, autoretry_for"):
        declared(app, colour_scheme=3)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"priority": 12}, ConfigError, "0 to 9"),
        ({"priority": "high"}, TypeError, "whole number"),
        ({"priority": True}, TypeError, "whole number"),
        ({"max_retries": -1}, ConfigError, "must not be negative"),
        ({"max_retries": 1.5}, TypeError, "whole number"),
        ({"default_retry_delay": "soon"}, ConfigError, "default_retry_delay: 'soon' is not a duration"),
        ({"retry": "5s"}, TypeError, "list of delays"),
        ({"retry": []}, TypeError, "list of delays"),
        ({"retry": ["5 parsecs"]}, ConfigError, "retry: '5 parsecs'"),
        ({"autoretry_for": "OSError"}, TypeError, "exception classes"),
        ({"autoretry_for": (int,)}, TypeError, "exception classes"),
        ({"retry_kwargs": {"count": 3}}, TypeError, "did you mean 'countdown'"),
        ({"retry_kwargs": {"max_retries": "3"}}, TypeError, "retry_kwargs: max_retries must be a whole"),
        ({"queue": 3}, TypeError, "queue must be a text"),
        ({"queue": ""}, TypeError, "queue must be a text"),
        ({"acks_late": 1}, TypeError, "True or False"),
        ({"expires": -1}, ConfigError, "expires"),
        ({"queue": "a", "exchange": "b"}, ConfigError, "either queue, or exchange"),
        ({"retry": False, "autoretry_for": OSError}, ConfigError, "contradicts"),
    ],
)
def test_a_wrong_value_is_refused(app, options, error, text):
    with pytest.raises(error, match=text):
        declared(app, **options)


def test_two_functions_of_one_name_are_refused(app):
    declared(app, name="same")
    with pytest.raises(ConfigError, match="two tasks are named 'same'"):

        @app.task(name="same")
        def other():
            pass


def test_the_same_function_again_replaces_the_former(app):
    first, second = declared(app), declared(app)
    assert app.tasks[first.name] is second


def test_positional_options_and_tasks_of_tasks_are_refused(app):
    with pytest.raises(TypeError, match="made of a function"):
        app.task("name")
    with pytest.raises(TypeError, match="a task already"):
        app.task(declared(app))


def test_a_missing_task_is_reported_with_the_nearest_name(app):
    declared(app, name="shop.mail.send")
    with pytest.raises(UnknownTask, match=r"did you mean 'shop\.mail\.send'"):
        app.tasks.find("shop.mail.sent")
    assert "nothing" not in app.tasks


def test_tasks_of_the_main_module_are_named_after_its_file(tmp_path):
    program = tmp_path / "orders.py"
    program.write_text(
        "from amqtask import Amqtask\napp = Amqtask(__file__)\n@app.task\ndef pay(): pass\nprint(pay.name, app.main)"
    )
    root = Path(__file__).resolve().parents[2]
    for command in ([str(program)], ["-m", "orders"]):
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PYTHONPATH": str(root)},
            check=True,
        )
        assert done.stdout.split() == ["orders.pay", "orders"]


def test_a_bound_task_shows_the_signature_that_callers_see(app):
    @app.task(bind=True)
    def work(self, order, *, fast=False):
        pass

    assert str(inspect.signature(work)) == "(order, *, fast=False)"
    assert isinstance(work, Task)
