"""``-A``: finding the app, and saying why it was not found."""

from __future__ import annotations

import sys

import pytest

from amqtask import Amqtask, ConfigError
from amqtask.symbols import find_app, import_module

MAKE = "from amqtask import Amqtask\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A current folder for modules, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)

    def write(**files):
        for name, text in files.items():
            path = tmp_path / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.parent != tmp_path:
                (path.parent / "__init__.py").touch()
            path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def found(path):
    return find_app(path, Amqtask).main


def refused(path):
    with pytest.raises(ConfigError) as caught:
        find_app(path, Amqtask)
    return str(caught.value)


def test_a_module_is_searched_for_app_then_celery_then_the_only_instance(project):
    project(
        one=MAKE + "app = Amqtask('a'); celery = Amqtask('b'); x = Amqtask('c')",
        two=MAKE + "app = 'no'; celery = Amqtask('b'); x = Amqtask('c')",
        three=MAKE + "x = Amqtask('c'); same = x",
    )
    assert [found("one"), found("two"), found("three")] == ["a", "b", "c"]


def test_the_usual_submodules_of_a_package_are_searched(project):
    project(pkg__celery=MAKE + "app = Amqtask('inner')", other__tasks=MAKE + "mine = Amqtask('tasks')")
    assert [found("pkg"), found("other")] == ["inner", "tasks"]
    assert found("pkg.celery") == "inner"


def test_attributes_factories_and_dotted_attributes_are_found(project):
    project(
        pkg__worker=MAKE
        + "app = Amqtask('a')\ndef make(): return Amqtask('made')\nclass holder:\n    inner = Amqtask('held')"
    )
    assert found("pkg.worker:app") == "a"
    assert found("pkg.worker:make()") == "made"
    assert found("pkg.worker:holder.inner") == "held"
    assert found("pkg.worker.app") == "a"


def test_a_missing_module_is_named_with_where_it_was_looked_for(project, tmp_path):
    assert refused("nowhere") == f"there is no module 'nowhere' (searched {tmp_path} and the Python path)"
    project(pkg__empty="")
    assert "there is no module 'pkg.nothing'" in refused("pkg.nothing")


def test_a_file_name_is_answered_with_the_module_name(project):
    assert "'./proj/tasks.py' is a file; write 'proj.tasks'" in refused("./proj/tasks.py")


def test_an_import_that_fails_inside_shows_the_real_cause_and_its_place(project, tmp_path):
    project(broken="import os\nimport not_installed_at_all\n", wrong="x = 1\ny = x / 0\n", syntax="def (:\n")
    assert refused("broken") == (
        f"loading 'broken' failed: ModuleNotFoundError: No module named 'not_installed_at_all' ({tmp_path}/broken.py:2)"
    )
    assert refused("wrong") == f"loading 'wrong' failed: ZeroDivisionError: division by zero ({tmp_path}/wrong.py:2)"
    assert refused("syntax").endswith(f"({tmp_path}/syntax.py:1)")


def test_what_amqtask_refuses_is_told_with_the_line_of_the_program_that_says_it(project, tmp_path):
    project(late="from amqtask import crontab\n\ncrontab(minute=61)\n")
    assert refused("late") == (
        f"loading 'late' failed: amqtask.errors.ConfigError: minute: 61 is not from 0 to 59 ({tmp_path}/late.py:3)"
    )


def test_a_module_that_exits_is_an_error_not_an_exit(project):
    project(leaves="raise SystemExit(3)")
    assert "loading 'leaves' failed: SystemExit: 3" in refused("leaves")


def test_several_apps_are_listed(project):
    project(many=MAKE + "a = Amqtask('a'); b = Amqtask('b')")
    assert refused("many") == "several Amqtask in 'many': write -A many:a or many:b"


def test_no_app_says_what_to_write(project):
    project(empty="x = 1")
    assert refused("empty").startswith("no Amqtask in 'empty': write module:attribute")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("mod:nothing", "module mod has no attribute 'nothing'"),
        ("mod:number", "mod:number is not of type Amqtask: it is int"),
        ("mod:make", "mod:make is a function; write mod:make() if it makes the app"),
        ("mod:number()", "number can't be called"),
        ("mod:fail()", "loading 'mod:fail()' failed: RuntimeError: no"),
        ("mod:", "names no app"),
        (":app", "names no app"),
        ("", "names no app"),
        (".mod", "names no app"),
    ],
)
def test_a_wrong_attribute_is_explained(project, path, text):
    project(mod="number = 1\ndef make(): return 5\ndef fail(): raise RuntimeError('no')\n")
    assert text in refused(path)


def test_modules_are_found_in_the_current_folder(project):
    project(here="VALUE = 1")
    assert import_module("here").VALUE == 1
