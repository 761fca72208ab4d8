"""Celery's settings, under their old names and new ones, in an app of amqtask."""

from __future__ import annotations

import ssl
import types

import pytest
from celery.app import defaults

from amqtask.app.checking import check_settings
from amqtask.config.celery_names import CELERY_NAMES, name_of_today
from amqtask.contrib.celery import Celery
from amqtask.errors import ConfigError


@pytest.mark.filterwarnings("ignore")
def test_every_name_of_celery_is_known():
    assert set(defaults.SETTING_KEYS) <= CELERY_NAMES
    for old, new in defaults._TO_NEW_KEY.items():
        assert name_of_today(old) == new
    for new in defaults.SETTING_KEYS:
        assert name_of_today(new) == new
        assert name_of_today(f"CELERY_{new.upper()}", "CELERY") == new


def test_values_are_put_into_amqtasks_words():
    app = Celery("x", broker="pyamqp://guest@localhost//", backend="rpc", accept_content=["application/json", "yaml"])
    (url,) = app.broker_urls
    assert (url.user, url.password, url.vhost) == ("guest", "guest", "/")
    app.conf.update(broker_use_ssl={"ca_certs": "ca.pem", "cert_reqs": ssl.CERT_NONE}, result_expires=None)
    assert app.conf.result_backend == "rpc://"
    assert app.conf.accept_content == ("json", "yaml")
    assert app.conf.result_accept_content is None
    app.conf.result_accept_content = ["application/json", "yaml"]
    assert app.conf.result_accept_content == ("json", "yaml")
    check_settings(app.settings)
    app.conf.result_accept_content = None
    assert app.conf.result_accept_content is None
    assert app.conf.broker_use_ssl == {"ca_certs": "ca.pem", "verify": False}
    assert app.conf.result_expires == 0


def test_old_names_are_named_once_with_the_new_ones(caplog):
    app = Celery("x")
    app.conf.update(CELERYD_CONCURRENCY=6, CELERY_REDIS_MAX_CONNECTIONS=60)
    app.conf.CELERYD_CONCURRENCY = 7
    assert (app.conf.worker_concurrency, app.conf.CELERYD_CONCURRENCY) == (7, 7)
    assert app.conf.redis_max_connections == app.conf.result_backend_max_connections == 60
    assert caplog.messages == [
        "old names of settings: CELERYD_CONCURRENCY is worker_concurrency, CELERY_REDIS_MAX_CONNECTIONS is "
        "result_backend_max_connections (amqtask upgrade settings FILE rewrites them)"
    ]


def test_kombus_queues_are_read():
    from kombu import Exchange, Queue

    queue = Queue("a", Exchange("xa", "topic"), "k.#", max_priority=3, queue_arguments={"x-max-length": 9})
    app = Celery("x", task_queues=[queue, Queue("b")])
    made = app.topology.queue("a")
    assert (made.exchange.name, made.exchange.type, made.routing_key) == ("xa", "topic", "k.#")
    assert (made.max_priority, made.arguments, made.plain) == (3, {"x-max-length": 9}, True)
    assert app.topology.queue("b").plain


def test_what_the_app_is_made_with_stays():
    app = Celery("x", broker="amqp://made/")
    app.config_from_object(types.SimpleNamespace(BROKER_URL="amqp://configured/", CELERY_TIMEZONE="Asia/Shanghai"))
    assert app.conf.broker_url == ("amqp://made/",)
    assert app.conf.timezone == "Asia/Shanghai"


def test_namespace_leaves_everything_else_alone(caplog):
    settings = {"CELERY_TASK_ALWAYS_EAGER": True, "TIMEZONE": "nowhere", "CELERY_TASK_ALWAYS_EAGR": 1, "DEBUG": True}
    app = Celery("x")
    app.config_from_object(settings, namespace="CELERY")
    assert app.conf.task_always_eager is True
    assert app.conf.timezone == "UTC"
    assert "unknown setting 'CELERY_TASK_ALWAYS_EAGR'; did you mean 'task_always_eager'?" in caplog.text


def test_unknown_setting_is_refused_with_a_hint():
    with pytest.raises(ConfigError, match="'time_limits'; did you mean 'task_time_limit'"):
        Celery("x").conf.update(time_limits=1)
    with pytest.raises(AttributeError, match="did you mean 'worker_max_memory_per_child'"):
        _ = Celery("x").conf.max_memory_per_child


def test_settings_without_effect_are_kept_and_named_once(caplog):
    app = Celery("x")
    app.conf.update(worker_timer="celery.utils.timer2.Timer", enable_utc=True, beat_sync_every=1)
    app.conf.worker_timer = "x"
    assert app.conf["worker_timer"] == "x"
    assert app.conf.get("beat_sync_every") == 1
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("setting worker_timer has no effect here: its parts are not made of classes")


def test_parts_of_an_address_are_refused():
    with pytest.raises(ConfigError, match="write broker_url instead"):
        Celery("x", BROKER_HOST="localhost")


def test_broker_that_is_none_of_ours_is_refused():
    app = Celery("x", broker="redis://localhost")
    with pytest.raises(ConfigError, match="a Redis"):
        _ = app.broker_urls


def test_modules_that_are_missing_can_be_left_out():
    app = Celery("x")
    app.config_from_object("no_such_module", silent=True)
    with pytest.raises(ConfigError, match="no_such_module"):
        app.config_from_object("no_such_module")


def test_schedule_can_be_filled_in_place():
    app = Celery("x")
    app.conf.beat_schedule["one"] = {"task": "a", "schedule": 3}
    app.add_periodic_task(5, app.signature("b", (1,)), name="two")
    assert list(app.conf.beat_schedule) == ["one", "two"]
