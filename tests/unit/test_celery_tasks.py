"""Celery's ways to declare tasks: base classes, hooks, shared tasks, tasks that are classes."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from amqtask.cli.setup import Setup
from amqtask.contrib.celery import Celery, Task, current_app, current_task, shared_task, signature
from amqtask.contrib.celery.absent import Unavailable
from amqtask.errors import ConfigError
from amqtask.results.current import current_results


class Noting(Task):
    """Notes its hooks."""

    max_retries = 1
    default_retry_delay = 0.0

    def __init__(self):
        super().__init__()
        self.notes = []

    def before_start(self, task_id, args, kwargs):
        self.notes.append(("before", args))

    def on_success(self, retval, task_id, args, kwargs):
        self.notes.append(("success", retval))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        self.notes.append(("retry", str(exc)))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        self.notes.append(("failure", str(exc), "Traceback" in str(einfo)))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        self.notes.append(("after", status))


@pytest.fixture
def app():
    return Celery("hooks")


def test_hooks_of_a_success(app):
    @app.task(base=Noting)
    def double(x):
        return 2 * x

    assert double.apply((2,)).get() == 4
    assert double.notes == [("before", (2,)), ("success", 4), ("after", "SUCCESS")]
    assert double(3) == 6
    assert len(double.notes) == 3


def test_hooks_of_retries_and_of_the_failure(app):
    @app.task(base=Noting, bind=True)
    def fail(self):
        raise self.retry(exc=ValueError("no"))

    assert fail.apply().state == "FAILURE"
    first = [("before", ()), ("retry", "no"), ("after", "RETRY")]
    assert fail.notes == [*first, ("before", ()), ("failure", "no", True), ("after", "FAILURE")]
    assert fail.options.max_retries == 1


def test_hooks_of_a_coroutine_function(app):
    @app.task(base=Noting)
    async def double(x):
        return 2 * x

    assert double.is_async
    assert double.apply((2,)).get() == 4
    assert [note[0] for note in double.notes] == ["before", "success", "after"]


def test_failing_hook_is_logged_and_changes_nothing(app, caplog):
    class Broken(Task):
        def on_success(self, retval, task_id, args, kwargs):
            raise RuntimeError("hook")

    @app.task(base=Broken)
    def one():
        return 1

    assert one.apply().get() == 1
    assert "on_success of" in caplog.text


def test_the_current_app_is_the_one_that_was_chosen():
    first = Celery("first")

    @shared_task(name="everywhere")
    def everywhere():
        pass

    def is_current(app):
        return everywhere.app is signature("x").app is app and current_app == app and current_results() is app.results

    assert is_current(first)
    other = Celery("other", set_as_current=False)
    assert is_current(first)
    third = Celery("third")
    assert is_current(third)
    first.set_default()
    assert is_current(first)
    other.set_current()
    assert is_current(other)


def test_the_app_that_a_command_is_given_is_current(monkeypatch):
    module = ModuleType("two_apps")
    module.wanted, module.other = Celery("wanted"), Celery("other")
    monkeypatch.setitem(sys.modules, "two_apps", module)
    assert current_app == module.other
    assert Setup(app="two_apps:wanted").load("app") is module.wanted
    assert current_app == module.wanted


@pytest.mark.parametrize("chosen", [True, False])
def test_the_current_app_stays_the_current_one_whatever_apps_its_modules_make(chosen, monkeypatch, tmp_path):
    (tmp_path / "makes_another_app.py").write_text("from amqtask import Amqtask\nother = Amqtask('other')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "makes_another_app", raising=False)
    wanted = Celery("wanted", include=["makes_another_app"], set_as_current=chosen)
    wanted.load_tasks()
    other = sys.modules.pop("makes_another_app").other
    assert current_app == (wanted if chosen else other)


def test_base_may_override_what_options_are_named_like(app):
    class Careful(Task):
        max_retries = 7

        def retry(self, *args, **options):
            raise KeyError("overridden")

        @staticmethod
        def rate_limit():
            return "1/s"

    @app.task(base=Careful, bind=True)
    def careful(self):
        return self.retry()

    assert (careful.options.max_retries, careful.options.retry, careful.options.rate_limit) == (7, None, None)
    assert isinstance(careful.apply().result, KeyError)


def test_call_of_a_base_surrounds_the_function(app):
    calls = []

    class InContext(Task):
        def __call__(self, *args, **kwargs):
            calls.append(self.request.id)
            return super().__call__(*args, **kwargs)

    app.Task = InContext

    @app.task(bind=True)
    def one(self):
        return self.request.id

    done = one.apply()
    assert done.get() == done.id
    assert calls == [done.id]


def test_task_that_is_a_class(app):
    class Add(Task):
        name = "add.numbers"

        def run(self, x, y):
            return x + y

    add = app.register_task(Add())
    assert app.tasks["add.numbers"] is add
    assert add.apply((1, 2)).get() == 3


def test_shared_task_is_one_of_every_app(app):
    @shared_task(name="shared.double")
    def double(x):
        return 2 * x

    later = Celery("later")
    assert app.tasks["shared.double"].apply((1,)).get() == 2
    assert later.tasks["shared.double"].apply((2,)).get() == 4
    assert double.s(3).task == "shared.double"
    assert double(4) == 8


def test_current_app_and_task(app):
    @app.task
    def name():
        return current_task.name, current_task.request.id

    done = name.apply()
    assert list(done.get()) == [name.name, done.id]
    assert not current_task
    assert current_app == app


def test_modules_of_tasks_are_discovered(app, tmp_path, monkeypatch):
    for package in ("with_tasks", "without"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    text = "from amqtask.contrib.celery import shared_task\n\n@shared_task\ndef found():\n    return 1\n"
    (tmp_path / "with_tasks" / "tasks.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    app.autodiscover_tasks(lambda: ["with_tasks", "without"])
    assert "with_tasks.tasks.found" not in app.tasks
    app.load_tasks()
    assert "with_tasks.tasks.found" in app.tasks


def test_discovery_without_django_wants_names(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "django.apps", None)
    with pytest.raises(ConfigError, match="name the packages"):
        app.autodiscover_tasks(force=True)


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda app: app.worker_main(["worker"]), "amqtask worker -A"),
        (lambda app: app.start(), "amqtask worker -A"),
        (lambda app: app.Beat(), "amqtask beat -A PROJECT"),
        (lambda app: app.amqp.queues, r"app\.amqp\.queues: send tasks by app\.send_task"),
    ],
)
def test_what_is_missing_says_so_when_it_is_used(app, use, text):
    with pytest.raises(Unavailable, match=text):
        use(app)


def test_receivers_are_called_once_the_app_is_configured(app):
    called = []

    @app.on_after_configure.connect
    def early(sender, **kwargs):
        called.append(("early", sender))

    app.load_tasks()
    app.load_tasks()
    app.on_after_configure.connect(lambda sender, **kwargs: called.append(("late", sender)))
    assert called == [("early", app), ("late", app)]


def test_option_that_asks_for_what_is_done_anyway_gets_no_warning(caplog):
    app = Celery("shop")
    app.task(reject_on_worker_lost=True)(_nothing)
    assert not caplog.messages
    app.task(reject_on_worker_lost=False, name="other")(_nothing)
    assert caplog.messages == ["task other: the option reject_on_worker_lost is kept, but without effect in amqtask"]


def _nothing():
    """A task."""
