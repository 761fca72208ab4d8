"""A Django project's app: its settings, where it is found, what ``manage.py check`` and ``manage.py amqtask`` do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test.utils import override_settings
from django_here import configured, forgotten

from amqtask.canvas.current import current_app
from amqtask.contrib.django import Amqtask
from amqtask.contrib.django.celery import Celery
from amqtask.contrib.django.checks import check_app
from amqtask.contrib.django.management.commands import amqtask as command
from amqtask.contrib.django.project import app_path, find_project_app
from amqtask.errors import ConfigError

configured()

APP = "from amqtask.contrib.django import Amqtask\nhere = Amqtask('{name}'{more})\n"


@pytest.fixture(autouse=True)
def _left(monkeypatch):
    monkeypatch.delenv("AMQTASK_APP", raising=False)
    monkeypatch.delenv("AMQTASK_BROKER_URL", raising=False)
    yield
    forgotten()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes modules of a project; its settings are said to be ``NAME.settings.production``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)

    def write(name, **modules):
        (tmp_path / name / "settings").mkdir(parents=True)
        for module, text in {"__init__": "", "settings/__init__": "", **modules}.items():
            (tmp_path / name / f"{module}.py").write_text(text)
        return override_settings(SETTINGS_MODULE=f"{name}.settings.production")

    yield write
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_tasks_that_cannot_be_imported_are_an_error_each_time():
    app = Amqtask("a")
    app.autodiscover_tasks(["there_is_no_such_package"])
    for _ in range(2):
        with pytest.raises(ConfigError, match="there_is_no_such_package"):
            app.load_tasks()


def test_an_app_has_the_settings_of_its_namespace():
    assert Amqtask("a").settings.task_serializer == "json"
    assert Amqtask("a", namespace="OTHER").settings.task_serializer == "msgpack"
    assert Amqtask("a", task_serializer="msgpack").settings.task_serializer == "msgpack"
    celery = Celery("a")
    celery.config_from_object("django.conf:settings", namespace="OTHER")
    assert celery.settings.task_serializer == "msgpack"


def test_an_unknown_setting_is_an_error_that_names_the_nearest():
    with (
        override_settings(AMQTASK_TASK_SERIALISER="json"),
        pytest.raises(ConfigError, match="did you mean 'task_serializer'"),
    ):
        Amqtask("a")


def test_without_djangos_settings_the_error_says_what_to_set(tmp_path):
    program = "from amqtask.contrib.django import Amqtask; Amqtask('a')"
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert "ConfigError: Django's settings can't be read; set DJANGO_SETTINGS_MODULE" in ended.stderr


def test_the_app_is_found_in_a_package_around_the_settings(project):
    with project("around", app=APP.format(name="around", more="")):
        assert app_path() == "around.app"
        assert find_project_app().main == "around"
        assert current_app().main == "around"
        assert check_app() == []


def test_the_environment_names_another(project, monkeypatch):
    with project("named", app=APP.format(name="named", more=""), own=APP.format(name="own", more="")):
        monkeypatch.setenv("AMQTASK_APP", "named.own:here")
        assert find_project_app().main == "own"


def test_a_module_of_celerys_own_app_is_passed_over(project):
    with project("both", celery="app = object()\n"):
        assert find_project_app() is None
        assert [message.id for message in check_app()] == ["amqtask.E001"]


def test_an_app_that_cannot_be_imported_is_an_error(project):
    with project("broken", app="import there_is_no_such_module\n"):
        with pytest.raises(ConfigError, match="there_is_no_such_module"):
            find_project_app()
        (message,) = check_app()
    assert message.id == "amqtask.E001"
    assert "there_is_no_such_module" in message.msg


@pytest.mark.parametrize(("more", "found"), [("", ["amqtask.W001"]), (", task_always_eager=True", [])])
def test_an_app_that_knows_no_broker_is_warned_of(project, more, found):
    with project("brokerless", app=APP.format(name="x", more=f", namespace='NONE'{more}")):
        assert [message.id for message in check_app()] == found


def test_the_command_line_gets_the_words_the_app_and_the_path(project, monkeypatch):
    started = []
    monkeypatch.setattr(command.os, "execve", lambda *given: started.append(given))
    words = ["worker", "--settings", "x.y", "-Q", "a", "--pythonpath=z", "--help"]
    with project("told", app=APP.format(name="told", more="")):
        command.Command().run_from_argv(["manage.py", "amqtask", *words])
    ((program, argv, environment),) = started
    assert (program, argv) == (sys.executable, [sys.executable, "-m", "amqtask", "worker", "-Q", "a", "--help"])
    assert environment["AMQTASK_APP"] == "told.app"
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == sys.path[0]
    assert str(Path(os.__file__).parent) not in environment["PYTHONPATH"].split(os.pathsep)


def test_the_command_can_be_called_from_programs(capfd):
    call_command("amqtask", "--", "--version")
    assert capfd.readouterr().out.startswith("amqtask ")
    with pytest.raises(CommandError, match="ended with 64"):
        call_command("amqtask", "no-such-command")
