"""Where periodic tasks are declared, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from amqtask import Amqtask, ConfigError
from amqtask.app.periodic import CLEANUP
from amqtask.beat.state_file import StateFile
from amqtask.cli.main import main
from amqtask.config.zones import zone
from amqtask.schedules.cron import crontab
from amqtask.schedules.interval import schedule
from amqtask.schedules.state import Mark, State


@pytest.fixture
def app():
    return Amqtask("shop", timezone="Europe/Berlin")


def test_a_task_can_be_declared_with_its_schedule(app):
    @app.periodic(every="10m", args=[1], overlap="skip")
    @app.task(name="refresh")
    def refresh(what):
        pass

    @app.periodic(cron="30 7 * * mon-fri", name="morning")
    @app.task(name="report")
    def report():
        pass

    found = app.periodic_tasks()
    assert (found["refresh"].schedules, found["refresh"].args) == ((schedule(600),), (1,))
    assert found["morning"].task == "report"
    assert found["morning"].schedules == (crontab(30, 7, "1-5", tz=zone("Europe/Berlin")),)


def test_a_signature_can_be_added_when_the_app_is_configured(app):
    @app.task(name="add")
    def add(x, y=0):
        pass

    @app.on_after_configure.connect
    def periodic(sender, source, **_):
        assert source is app.conf
        sender.add_periodic_task(10.0, add.s(1, y=2).set(priority=3), name="often", expires=5, catchup="none")
        sender.add_periodic_task(timedelta(hours=1), add.s(1))
        sender.add_periodic_task(timedelta(hours=2), add.s(1))

    assert app.periodic_tasks() == {}
    app.load_tasks()
    app.load_tasks()
    found = app.periodic_tasks()
    assert len(found) == 3
    often = found["often"]
    assert (often.args, dict(often.kwargs)) == ((1,), {"y": 2})
    assert (often.options["priority"], often.options["expires"], often.catchup) == (3, 5, "none")


def test_a_receiver_that_fails_ends_the_start(app):
    @app.on_after_configure.connect
    def fails(sender, **_):
        raise LookupError("not there")

    with pytest.raises(LookupError):
        app.load_tasks()


def test_a_name_has_one_place(app):
    app.conf.beat_schedule = {"one": {"task": "a", "schedule": 5}}
    app.add_periodic_task(5, _task(app), name="one")
    with pytest.raises(ConfigError, match="'one' is declared twice"):
        app.add_periodic_task(5, app.tasks["a"], name="one")
    with pytest.raises(ConfigError, match="'one' is declared twice, again in code"):
        app.periodic_tasks()


def _task(app):
    @app.task(name="a")
    def a():
        pass

    return a


def test_a_decorator_in_the_wrong_place_is_told(app):
    with pytest.raises(TypeError, match="belongs above @app.task"):
        app.periodic(every=5)(lambda: None)
    with pytest.raises(ConfigError, match="needs one of"):
        app.periodic(every=5, cron="@daily")


def test_what_is_in_the_routing_file_is_read_with_its_place(tmp_path):
    file = tmp_path / "routing.yaml"
    file.write_text("schedule:\n  report: {task: r, cron: ['@daily', '0 12 * * *'], args: [1], jitter: 5s}\n")
    found = Amqtask("shop", routing=file).periodic_tasks()["report"]
    assert len(found.schedules) == 2
    assert (found.args, found.jitter) == ((1,), timedelta(seconds=5))
    file.write_text("schedule:\n  report: {task: r, cron: '0 0 30 2 *'}\n")
    with pytest.raises(ConfigError, match=r"routing.yaml:2:3: periodic task 'report': .*no such date ever comes"):
        Amqtask("shop", routing=file).periodic_tasks()


WRONG = """\
queues: {slow: {}}
schedule:
  a: {task: r, cron: "0 25 * * *"}
  b: {task: r, cron: "@daily", tz: Mars/X}
  c: {task: r, every: 0}
  d: {task: r, every: 5s, expires: 0}
"""


def test_all_that_is_wrong_with_periodic_tasks_is_told_at_once_with_its_place(tmp_path):
    file = tmp_path / "routing.yaml"
    file.write_text(WRONG)
    with pytest.raises(ConfigError) as error:
        Amqtask("shop", routing=file).periodic_tasks()
    lines = str(error.value).splitlines()
    assert [line.rpartition("routing.yaml:")[2].partition(" ")[0] for line in lines] == ["3:3:", "4:3:", "5:3:", "6:3:"]
    assert "every 0s" in lines[2]
    assert "'expires'" in lines[3]


def test_the_topology_is_wrong_when_a_periodic_task_is(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "routing.yaml"
    file.write_text(WRONG)
    assert main(["topology", "check", "--offline", "--routing", "routing.yaml"]) == 78
    assert "4 problems in the topology" in capsys.readouterr().err
    file.write_text(
        "queues: {slow: {}}\nschedule:\n"
        "  a: {task: r, every: 5s, queue: slo}\n"
        "  b: {task: r, every: 5s, options: {serializer: nope}}\n"
        "  c: {task: r, every: 5s, options: {prioritty: 3}}\n"
        "  d: {task: r, every: 5s, queue: slow}\n"
        "  e: {task: r, every: 0}\n"
    )
    assert main(["topology", "check", "--offline", "--routing", "routing.yaml"]) == 78
    told = capsys.readouterr().err
    assert "4 problems" in told
    assert "routing.yaml:7:3: periodic task 'e': " in told
    assert "routing.yaml:3:3: periodic task 'a': queue 'slo' is not declared; did you mean 'slow'?" in told
    assert "routing.yaml:4:3: periodic task 'b': unknown serializer 'nope'" in told
    assert "routing.yaml:5:3: periodic task 'c': " in told


def test_what_is_no_task_can_not_be_run_again_and_again(app):
    with pytest.raises(ConfigError, match="takes a signature or a task, not 'shop.report'"):
        app.add_periodic_task(10.0, "shop.report")


def test_results_that_no_store_removes_by_itself_are_cleaned_up(tmp_path):
    assert CLEANUP in Amqtask("shop", backend=f"file://{tmp_path}").periodic_tasks()
    assert CLEANUP not in Amqtask("shop", backend="rpc://").periodic_tasks()


def test_the_file_keeps_the_state_and_one_that_is_broken_is_set_aside(tmp_path, caplog):
    path = tmp_path / "beat.db"
    state = State(app="shop", marks={"one": Mark(5.0, "x")}, paused={"one"})
    StateFile(str(path)).save(state.plain())
    assert StateFile(str(path)).load() == state
    path.write_bytes(b"this is a shelf" * 1000)
    assert StateFile(str(path)).load() == State()
    assert (tmp_path / "beat.db.unreadable").exists()
    assert "can't be read" in caplog.text
    with pytest.raises(ConfigError, match="can't use"):
        StateFile(str(tmp_path / "none" / "beat.db"))


@pytest.mark.parametrize("name", ["", None, 5])
def test_an_entry_without_a_name_is_an_error(name):
    app = Amqtask("shop", broker="amqp://localhost/", beat_schedule={name: {"task": "t", "schedule": 5}})
    with pytest.raises(ConfigError, match="the name of a periodic task must be a text"):
        app.periodic_tasks()


def test_a_call_may_be_given_as_a_signature_the_dict_of_one_or_a_task(app):
    @app.task(name="add")
    def add(x, y=0):
        pass

    signature = add.s(1, y=2).set(queue="slow", task_id="one-run-only")
    for name, task in (("signature", signature), ("dict", dict(signature))):
        app.add_periodic_task(60, task, name=name)
        entry = app.periodic_tasks()[name]
        assert (entry.task, entry.args, entry.kwargs, entry.options) == ("add", (1,), {"y": 2}, {"queue": "slow"})
    app.add_periodic_task(60, add, name="task", args=(3,))
    assert (app.periodic_tasks()["task"].task, app.periodic_tasks()["task"].args) == ("add", (3,))
    with pytest.raises(ConfigError, match="a signature or a task is required, got 5"):
        app.add_periodic_task(60, 5)
    with pytest.raises(ConfigError, match="a signature or a task is required, got 5"):
        app.schedules.add("five", 5, 60)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--queue", "nowhere"], "periodic task 'x': queue 'nowhere' is not declared"),
        (["-a", "[1, 2]"], "periodic task 'x': t() takes"),
    ],
)
def test_what_the_scheduler_could_not_send_is_not_added_by_the_command(tmp_path, capsys, monkeypatch, words, why):
    (tmp_path / "adding.py").write_text(
        "from amqtask import Amqtask\napp = Amqtask('adding', broker='amqp://localhost:1/')\n\n\n"
        "@app.task(name='t')\ndef t():\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["-A", "adding", "schedule", "add", "x", "t", "--every", "5", *words]) == 78
    assert why in capsys.readouterr().err
