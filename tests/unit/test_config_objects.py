"""Settings out of modules, classes and mappings, and where each came from."""

from __future__ import annotations

import json
import subprocess
import sys
import types

import pytest

from amqtask import Amqtask, ConfigError
from amqtask.config.sources import Configuration, Source

MODULE = """\
from datetime import timedelta

BROKER_URL = "amqp://me:secret@configured/v"
CELERY_TIMEZONE = "Asia/Shanghai"
CELERYD_CONCURRENCY = 6
worker_pool = "threads"
CELERY_INCLUDE = ["proj.tasks"]
DEBUG = True
half_an_hour = timedelta(minutes=30)


class Production:
    worker_concurrency = 3
    task_serializer = "json"
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module with settings, new in each test."""
    name = f"settings_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_module_is_read_by_name_and_what_is_no_setting_is_left_alone(module, caplog):
    app = Amqtask("shop")
    app.config_from_object(module)
    assert app.conf.broker_url == ("amqp://me:secret@configured/v",)
    assert (app.conf.timezone, app.conf.worker_concurrency, app.conf.worker_pool) == ("Asia/Shanghai", 6, "threads")
    assert app.conf.include == ("proj.tasks",)
    assert len(caplog.messages) == 1
    assert "CELERYD_CONCURRENCY is worker_concurrency" in caplog.text


@pytest.mark.parametrize("path", ["{}:Production", "{}.Production"])
def test_a_class_in_a_module_is_read_too(module, path):
    app = Amqtask("shop", config_source=path.format(module))
    assert (app.conf.worker_concurrency, app.conf.task_serializer) == (3, "json")


def test_modules_objects_and_mappings_are_taken_as_they_are(module):
    for source in (__import__(module), types.SimpleNamespace(worker_concurrency=6), {"CELERYD_CONCURRENCY": 6}):
        assert Amqtask("shop", config_source=source).conf.worker_concurrency == 6


def test_code_wins_over_a_configuration_module_whenever_it_is_read(module):
    app = Amqtask("shop", broker="amqp://code/v")
    app.conf.worker_concurrency = 2
    app.config_from_object(module)
    assert (app.conf.broker_url, app.conf.worker_concurrency) == (("amqp://code/v",), 2)
    app.configuration.update({"worker_pool": "solo"}, Source.COMMAND_LINE)
    assert (app.conf.worker_pool, app.conf.timezone) == ("solo", "Asia/Shanghai")


def test_a_configuration_module_wins_over_the_environment_and_defaults_of_the_app(module, monkeypatch):
    monkeypatch.setenv("AMQTASK_WORKER_CONCURRENCY", "9")
    app = Amqtask("shop")
    app.add_defaults(lambda: {"worker_concurrency": 1, "task_default_queue": "mine"})
    assert (app.conf.worker_concurrency, app.conf.task_default_queue) == (9, "mine")
    app.config_from_object(module)
    assert app.conf.worker_concurrency == 6


def test_a_namespace_tells_settings_from_everything_else():
    settings = {"CELERY_TASK_ALWAYS_EAGER": True, "CELERY_ACKS_LATE": False, "TIMEZONE": "x", "worker_pool": "solo"}
    app = Amqtask("shop", config_source=settings, namespace="CELERY")
    assert (app.conf.task_always_eager, app.conf.task_acks_late) == (True, False)
    assert (app.conf.timezone, app.conf.worker_pool) == ("UTC", "prefork")


@pytest.mark.parametrize(
    ("settings", "namespace", "said"),
    [
        ({"CELERYD_CONCURENCY": 1}, None, "unknown setting 'CELERYD_CONCURENCY'"),
        ({"CELERY_TASK_ALWAYS_EAGR": 1}, "CELERY", "did you mean 'task_always_eager'"),
        ({"time_limits": 1}, None, "did you mean 'task_time_limit'"),
        (types.SimpleNamespace(broker="amqp://h"), None, "did you mean 'broker_url'"),
    ],
)
def test_a_name_that_looks_like_a_setting_is_refused_unless_it_may_pass(settings, namespace, said, caplog):
    with pytest.raises(ConfigError, match=said):
        Amqtask("shop", config_source=settings, namespace=namespace)
    Amqtask("shop", config_source=settings, namespace=namespace, unknown_settings="warn")
    assert said in caplog.text


def test_an_error_in_a_module_leaves_the_settings_as_they_were():
    app = Amqtask("shop")
    with pytest.raises(ConfigError, match="setting worker_concurrency"):
        app.config_from_object({"timezone": "Asia/Shanghai", "worker_concurrency": "many"})
    assert app.conf.timezone == "UTC"


def test_modules_that_are_missing_can_be_left_out(module):
    app = Amqtask("shop")
    app.config_from_object("no_such_module", silent=True)
    with pytest.raises(ConfigError, match="no_such_module"):
        app.config_from_object("no_such_module")
    with pytest.raises(ConfigError, match="'Nothing' is not there"):
        app.config_from_object(f"{module}:Nothing")


def test_an_environment_variable_can_name_the_module(module, monkeypatch):
    app = Amqtask("shop")
    assert app.config_from_envvar("SHOP_CONFIG", silent=True) is False
    with pytest.raises(ConfigError, match="SHOP_CONFIG is not set"):
        app.config_from_envvar("SHOP_CONFIG")
    monkeypatch.setenv("SHOP_CONFIG", module)
    assert app.config_from_envvar("SHOP_CONFIG") is True
    assert app.conf.worker_concurrency == 6


def test_a_report_tells_the_line_of_every_value(module, monkeypatch):
    monkeypatch.setenv("AMQTASK_BROKER_HEARTBEAT", "7")
    app = Amqtask("shop", config_source=module)
    line = test_a_report_tells_the_line_of_every_value.__code__.co_firstlineno + 4
    app.conf.task_default_queue = "mine"
    app.configuration.update({"worker_pool": "solo"}, Source.COMMAND_LINE)
    rows = {row.name: row for row in app.configuration.report()}
    assert rows["worker_concurrency"][2:4] == ("configuration", f"{module}.py:5")
    assert rows["broker_url"][1:4] == ("amqp://me:***@configured/v", "configuration", f"{module}.py:3")
    assert rows["task_default_queue"][2:4] == ("code", f"{__file__}:{line}")
    assert rows["broker_heartbeat"][2:4] == ("environment", "AMQTASK_BROKER_HEARTBEAT")
    assert rows["worker_pool"][1:4] == ("solo", "command line", "")
    assert rows["accept_content"][2:] == ("default", "", "")


def test_a_report_tells_the_line_in_a_class(module):
    app = Amqtask("shop", config_source=f"{module}:Production")
    rows = {row.name: row for row in app.configuration.report()}
    assert rows["task_serializer"].place == f"{module}.py:14"


def test_settings_without_effect_stand_at_the_end_of_a_report_with_the_reason():
    configuration = Configuration({})
    configuration.update({"worker_timer": "x", "enable_utc": True})
    same, idle = configuration.report()[-2:]
    assert (same.name, same.note) == ("enable_utc", "as it is here anyway")
    assert (idle.name, idle.value) == ("worker_timer", "x")
    assert idle.note.startswith("its parts are not made of classes")


def test_conf_is_a_mapping_of_all_settings():
    app = Amqtask("shop")
    app.conf["task_serializer"] = "json"
    app.conf.update([("CELERY_TIMEZONE", "Asia/Shanghai")], broker_heartbeat=9)
    assert dict(app.conf)["timezone"] == "Asia/Shanghai"
    assert "CELERYD_CONCURRENCY" in app.conf
    assert "nonsense" not in app.conf
    assert app.conf.get("nonsense", 3) == 3
    assert app.conf.get("worker_concurrency", 4) == 4
    assert app.conf.table() == {"task_serializer": "json", "timezone": "Asia/Shanghai", "broker_heartbeat": 9}
    assert app.conf.humanize() == "broker_heartbeat: 9\ntask_serializer: 'json'\ntimezone: 'Asia/Shanghai'"
    assert app.conf.table(with_defaults=True)["worker_pool"] == "prefork"
    with pytest.raises(KeyError, match="did you mean"):
        app.conf["task_serialiser"]
    with pytest.raises(TypeError, match="not removed"):
        del app.conf["timezone"]


def test_a_table_is_plain_data():
    app = Amqtask("shop", broker=["amqp://me:secret@a/v"], unknown_task_delays=["5s"])
    text = json.dumps(app.conf.table(with_defaults=True))
    assert "secret" not in text
    assert '"unknown_task_delays": ["5s"]' in text


def test_an_app_that_is_configured_loads_no_driver():
    code = (
        "import sys; from amqtask import Amqtask\n"
        "app = Amqtask('x', config_source={'CELERYD_CONCURRENCY': 1}); app.conf.worker_pool\n"
        "print([m for m in ('pika','aio_pika','yaml','click','asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
