"""Settings: sources, origins, checks, and what is shown of them."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import amqtask
from amqtask import Amqtask, ConfigError
from amqtask.config import reference
from amqtask.config.settings import NAMES, default_of, doc_of, kind_of
from amqtask.config.showing import mask
from amqtask.config.sources import Configuration, Source

ROOT = Path(__file__).resolve().parents[2]


def configured(environ=None, **values):
    configuration = Configuration(environ or {})
    configuration.update(values)
    return configuration


def test_every_setting_has_a_kind_a_description_and_a_fitting_default():
    for name in NAMES:
        assert doc_of(name)[0].isupper()
        assert doc_of(name).endswith(".")
        assert kind_of(name).check(default_of(name)) == default_of(name)


def test_code_wins_over_the_environment_and_the_command_line_over_both():
    configuration = configured({"AMQTASK_TASK_SERIALIZER": "json", "AMQTASK_BROKER_HEARTBEAT": "7"})
    assert configuration.settings.task_serializer == "json"
    assert configuration.origin("task_serializer") is Source.ENVIRONMENT
    configuration.update({"task_serializer": "yaml"})
    assert configuration.settings.task_serializer == "yaml"
    configuration.update({"task_serializer": "msgpack"}, Source.COMMAND_LINE)
    configuration.update({"task_serializer": "json"})
    assert configuration.settings.task_serializer == "msgpack"
    assert configuration.settings.broker_heartbeat == 7
    assert configuration.origin("worker_pool") is Source.DEFAULT


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("broker_url", "amqp://a;amqp://b", ("amqp://a;amqp://b",)),
        ("broker_confirm_timeout", "500ms", 0.5),
        ("broker_confirm_timeout", "2.5", 2.5),
        ("accept_content", "json, msgpack", ("json", "msgpack")),
        ("task_acks_late", "No", False),
        ("worker_concurrency", "none", None),
        ("worker_concurrency", "4", 4),
        ("unknown_task_delays", "1s,1m", (timedelta(seconds=1), timedelta(minutes=1))),
        ("broker_use_ssl", "ca_certs=/ca.pem,verify=false", {"ca_certs": "/ca.pem", "verify": False}),
    ],
)
def test_environment_variables_are_read_by_the_kind_of_the_setting(name, text, value):
    configuration = Configuration({f"AMQTASK_{name.upper()}": text})
    assert getattr(configuration.settings, name) == value


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("broker_heartbeat", "30", "whole number"),
        ("broker_heartbeat", True, "whole number"),
        ("broker_heartbeat", -1, "0 to 65535"),
        ("broker_confirm_timeout", "soon", "not a duration"),
        ("broker_confirm_timeout", float("nan"), "finite"),
        ("topology_mode", "maybe", "declare, verify, none"),
        ("task_acks_late", 1, "true or false"),
        ("task_default_queue", "", "got an empty text"),
        ("accept_content", ["json", 3], "list of texts"),
        ("unknown_task_delays", "5s", "list of durations"),
        ("broker_use_ssl", {"cafile": "x"}, "unknown cafile"),
        ("broker_use_ssl", True, "mapping"),
        ("worker_concurrency", 0, "1 or more"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_the_setting_and_what_is_wanted(name, value, wanted):
    with pytest.raises(ConfigError, match=f"setting {name}: .*{wanted}"):
        configured(**{name: value})


def test_a_wrong_environment_variable_is_named():
    with pytest.raises(ConfigError, match=r"environment variable AMQTASK_WORKER_CONCURRENCY: .*whole number"):
        _ = Configuration({"AMQTASK_WORKER_CONCURRENCY": "many"}).settings


def test_an_unknown_setting_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="unknown setting 'task_serialiser'; did you mean 'task_serializer'"):
        Amqtask("shop", task_serialiser="json")


def test_a_misspelt_environment_variable_is_reported_but_a_stranger_is_not(caplog):
    with caplog.at_level(logging.WARNING):
        _ = Configuration({"AMQTASK_BROKER_ULR": "x", "AMQTASK_APP": "proj", "OTHER": "1"}).settings
    assert [record.getMessage() for record in caplog.records] == [
        "environment variable AMQTASK_BROKER_ULR is not a setting; did you mean 'broker_url'?"
    ]


def test_several_settings_are_set_together_or_not_at_all():
    configuration = configured(task_serializer="json")
    with pytest.raises(ConfigError):
        configuration.update({"task_serializer": "yaml", "broker_heartbeat": "x"})
    assert configuration.settings.task_serializer == "json"


def test_settings_can_be_read_and_set_by_attribute():
    app = Amqtask("shop", broker="amqp://me:secret@host/v")
    app.conf.task_serializer = "json"
    app.conf.update({"broker_heartbeat": 9}, task_default_queue="mine")
    assert app.conf.broker_url == ("amqp://me:secret@host/v",)
    assert (app.settings.task_serializer, app.conf.broker_heartbeat) == ("json", 9)
    with pytest.raises(ConfigError, match="did you mean"):
        app.conf.task_serialiser = "json"
    with pytest.raises(AttributeError, match="did you mean 'task_serializer'"):
        _ = app.conf.task_serialiser


def test_settings_are_fixed_once_the_app_is_in_use():
    app = Amqtask("shop")
    _ = app.topology
    with pytest.raises(ConfigError, match="too late to set task_default_queue: the app's topology is in use"):
        app.conf.task_default_queue = "other"


def test_a_report_names_every_setting_and_shows_no_password():
    configuration = configured(broker_url=["amqp://me:se@cr/et@a/v", "amqps://you:hidden@b"])
    rows = {row.name: row for row in configuration.report()}
    assert list(rows) == list(NAMES)
    assert rows["broker_url"].value == "amqp://me:***@a/v, amqps://you:***@b"
    assert rows["broker_url"].origin == "code"
    assert rows["worker_shutdown_timeout"][:3] == ("worker_shutdown_timeout", "30", "default")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://a:b@h1;amqp://c:d@h2", "amqp://a:***@h1;amqp://c:***@h2"),
        ("amqp://a:p@ss:w@h", "amqp://a:***@h"),
        ("amqp://h", "amqp://h"),
        ("nonsense", "nonsense"),
    ],
)
def test_passwords_are_masked_in_any_text(url, shown):
    assert mask(url) == shown


def test_an_error_about_a_broker_url_shows_no_password():
    with pytest.raises(ConfigError) as caught:
        configured(broker_use_ssl="amqp://me:secret@host")
    assert "secret" not in str(caught.value)


def test_the_reference_page_is_current():
    page = (ROOT / "docs/reference/settings.md").read_text()
    assert page == reference.page(), "run: python -m amqtask.config.reference > docs/reference/settings.md"


def test_importing_amqtask_loads_none_of_the_heavy_modules():
    code = (
        "import sys, amqtask; amqtask.ConfigError, amqtask.Retry;"
        "print([m for m in ('pika','aio_pika','yaml','click','asyncio','msgpack') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_making_an_app_with_tasks_loads_no_driver():
    code = (
        "import sys; from amqtask import Amqtask\n"
        "app = Amqtask('x', broker='amqp://nobody@nowhere')\n"
        "@app.task\n"
        "def f(): pass\n"
        "print([m for m in ('pika','aio_pika','yaml','click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_imported():
    for name in amqtask.__all__:
        if name != "__version__":
            assert getattr(amqtask, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = amqtask.Nonsense
