"""Celery's settings in any app of amqtask: every one has an effect, or a note that says why it has none."""

from __future__ import annotations

import logging

import pytest
from celery.app import defaults

from amqtask import Amqtask, ConfigError
from amqtask.config.celery_names import CELERY_NAMES
from amqtask.config.celery_notes import REFUSED, lost, note_of
from amqtask.config.celery_values import OTHERWISE, RENAMED, translated
from amqtask.config.settings import NAMES
from amqtask.config.sources import Configuration, Source


def test_every_setting_of_celery_has_exactly_one_fate():
    for name in CELERY_NAMES:
        fates = [name in NAMES, name in RENAMED, name in OTHERWISE and name not in RENAMED, name in REFUSED]
        fates.append(note_of(name) is not None)
        assert sum(fates) == 1, (name, fates)


def test_renamed_settings_lead_to_settings_that_exist():
    assert set(RENAMED.values()) <= set(NAMES)
    for name in OTHERWISE:
        assert set(translated(name, 1)) <= set(NAMES)


def test_notes_are_ends_of_a_sentence():
    for name in CELERY_NAMES:
        if (note := note_of(name)) is not None:
            assert note.why
            assert not note.why.endswith(".")


@pytest.mark.filterwarnings("ignore")
def test_writing_down_celerys_defaults_gives_notes_only_where_amqtask_does_something_else():
    noted = {
        name for name in CELERY_NAMES if (given := dict(defaults.DEFAULTS).get(name)) is not None and lost(name, given)
    }
    stores = ("s3_", "azure", "cosmos", "gcs_", "elasticsearch_", "cassandra_", "redis_", "database_", "security_")
    assert {name for name in noted if not name.startswith(stores)} <= {
        "broker_pool_acquire_timeout",
        "task_publish_retry_policy",
        "worker_cancel_long_running_tasks_on_connection_loss",
        "worker_deduplicate_successful_tasks",
        "worker_pool_restarts",
        "worker_timer_precision",
        "result_backend_always_retry",
        "result_backend_base_sleep_between_retries_ms",
        "result_backend_max_retries",
        "result_backend_max_sleep_between_retries_ms",
        "task_create_missing_queue_type",
        "task_retry_on_worker_lost",
    }


@pytest.mark.parametrize(
    ("given", "set_to"),
    [
        ({"worker_soft_shutdown_timeout": 20.0}, {"worker_shutdown_timeout": 20.0}),
        ({"worker_soft_shutdown_timeout": 0.0}, {"worker_shutdown_timeout": 30.0}),
        ({"task_reject_on_worker_lost": False}, {"worker_lost_max_deliveries": 1}),
        ({"task_reject_on_worker_lost": True}, {"worker_lost_max_deliveries": 3}),
        (
            {"task_acks_on_failure_or_timeout": True},
            {"task_acks_on_failure": True, "task_acks_on_timeout": True},
        ),
        ({"result_chord_expires": 60}, {"chord_expires": 60.0}),
        ({"broker_native_delayed_delivery_queue_type": "classic"}, {"delay_queue_type": "classic"}),
        ({"task_default_delivery_mode": "transient"}, {"task_default_delivery_mode": 1}),
        ({"broker_heartbeat": None}, {"broker_heartbeat": 0}),
        ({"broker_heartbeat": 120.0}, {"broker_heartbeat": 120}),
        ({"result_expires": None}, {"result_expires": 0}),
        ({"result_backend": "disabled"}, {"result_backend": None}),
        ({"result_backend": "disabled://"}, {"result_backend": None}),
        ({"worker_pool": "processes"}, {"worker_pool": "prefork"}),
        ({"beat_scheduler": "celery.beat:PersistentScheduler"}, {"beat_scheduler": "token"}),
        ({"CELERY_ACCEPT_CONTENT": ["application/json"]}, {"accept_content": ("json",)}),
        ({"broker_url": "pyamqp://guest@h//"}, {"broker_url": ("amqp://guest:guest@h/",)}),
    ],
)
def test_values_of_celery_are_understood(given, set_to):
    app = Amqtask("x", **given)
    assert {name: app.conf[name] for name in set_to} == set_to


def test_settings_without_effect_can_be_read_back_and_say_what_is_done_when_nobody_gave_them():
    app = Amqtask("x")
    assert app.conf.enable_utc is True
    assert app.conf.worker_agent is None
    app.conf.worker_consumer = "proj:Consumer"
    assert app.conf["worker_consumer"] == "proj:Consumer"
    assert app.conf.table()["worker_consumer"] == "proj:Consumer"


def test_a_value_that_asks_for_what_is_done_anyway_gets_no_note(caplog):
    app = Amqtask("x")
    app.conf.update(enable_utc=True, broker_pool_limit=50, task_publish_retry=True, task_protocol=2)
    app.conf.broker_transport_options = {"confirm_publish": True}
    assert not caplog.messages


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"redis_backend_use_ssl": {"ssl_cert_reqs": "CERT_NONE"}}, "write rediss://"),
        ({"redis_backend_use_ssl": True}, "write rediss://"),
        ({"redis_socket_timeout": 120.0}, "?socket_timeout=SECONDS"),
        ({"redis_password": "hush"}, "redis://user:password@host"),
    ],
)
def test_each_setting_of_redis_has_advice_of_its_own(caplog, given, advice):
    Amqtask("x", **given)
    (message,) = caplog.messages
    assert advice in message


def test_settings_of_redis_that_ask_for_what_is_done_anyway_get_no_note(caplog):
    Amqtask("x", redis_retry_on_timeout=True, redis_socket_keepalive=True, redis_backend_use_ssl=None)
    assert not caplog.messages


def test_transport_options_are_named_in_one_note(caplog):
    Amqtask("x", broker_transport_options={"fanout_prefix": True, "max_connections": 400, "confirm_publish": True})
    assert caplog.messages == [
        "setting broker_transport_options has no effect here: RabbitMQ needs none of these (some are Redis's): "
        "fanout_prefix, max_connections"
    ]


def test_each_note_is_given_once_per_app(caplog):
    app = Amqtask("x", worker_timer="a")
    app.conf.worker_timer = "b"
    with app.rebound(worker_timer="c"):
        pass
    assert len(caplog.messages) == 1


def test_both_addresses_of_a_broker_can_differ():
    app = Amqtask("x", broker_read_url="amqp://a:b@read/v", broker_write_url="amqp://a:b@write/v")
    assert ([url.host for url in app.read_urls], [url.host for url in app.broker_urls]) == (["read"], ["write"])
    same = Amqtask("x", broker="amqp://a:b@both/v")
    assert same.read_urls == same.broker_urls


def test_an_unknown_name_is_refused_whatever_its_style():
    for name, meant in (
        ("max_tasks_per_child_settings", "worker_max_tasks_per_child"),
        ("max_memory_per_child", "worker_max_memory_per_child"),
        ("time_limits", "task_time_limit"),
        ("CELERYD_CONCURENCY", None),
    ):
        with pytest.raises(ConfigError, match=f"unknown setting {name!r}") as caught:
            Amqtask("x", **{name: 1})
        assert meant is None or meant in str(caught.value)


def test_modules_of_include_and_imports_add_up_over_all_sources():
    configuration = Configuration({"AMQTASK_INCLUDE": "env"})
    configuration.update({"include": ["object", "both"]}, Source.OBJECT)
    configuration.update({"include": ["both", "code"]})
    assert configuration.settings.include == ("env", "object", "both", "code")


def test_the_schedule_can_be_filled_in_place_and_stays_the_same_mapping():
    app = Amqtask("x")
    app.conf.beat_schedule["one"] = {"task": "a", "schedule": 3}
    app.conf.timezone = "UTC"
    app.configuration.freeze("connection")
    app.conf.beat_schedule["two"] = {"task": "b", "schedule": 4}
    with app.rebound(task_default_queue="other"):
        assert list(app.settings.beat_schedule) == ["one", "two"]
    given = {"three": {"task": "c", "schedule": 5}}
    other = Amqtask("y", beat_schedule=given)
    other.conf.beat_schedule["four"] = {}
    assert other.settings.beat_schedule is given


def test_secrets_of_stores_are_in_no_table():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("amqtask.config.sources"), "disabled", True)
        app = Amqtask("x", redis_password="hidden", s3_secret_access_key="hidden", broker="amqp://me:hidden@h/v")
    app.conf.result_backend_transport_options = {"sentinel_kwargs": {"password": "hidden"}}
    assert "hidden" not in app.conf.humanize()
    assert "hidden" not in str(app.configuration.report())
    assert app.conf.table(censored=False)["redis_password"] == "hidden"


def test_what_says_one_thing_wins_over_what_sets_several():
    for given in (
        {"task_acks_on_timeout": False, "task_acks_on_failure_or_timeout": True},
        {"task_acks_on_failure_or_timeout": True, "task_acks_on_timeout": False},
    ):
        conf = Amqtask("x", **given).conf
        assert (conf.task_acks_on_failure, conf.task_acks_on_timeout) == (True, False)


def test_a_setting_under_two_names_with_two_values_is_an_error():
    with pytest.raises(ConfigError, match="timezone is given twice, as CELERY_TIMEZONE and as timezone"):
        Amqtask("x", config_source={"CELERY_TIMEZONE": "Asia/Tokyo", "timezone": "UTC"})
    with pytest.raises(ConfigError, match="given twice"):
        Amqtask("x", config_source={"CELERY_ALWAYS_EAGER": True, "CELERY_TASK_ALWAYS_EAGER": False}, namespace="CELERY")
    assert Amqtask("x", config_source={"CELERY_TIMEZONE": "Asia/Tokyo", "timezone": "Asia/Tokyo"}).conf.timezone


def test_celerys_names_and_values_are_understood_in_the_environment_too(caplog):
    settings = Configuration(
        {
            "AMQTASK_BROKER_URL": "pyamqp://guest@h//",
            "AMQTASK_RESULT_CHORD_EXPIRES": "60",
            "AMQTASK_BEAT_SCHEDULER": "celery.beat:PersistentScheduler",
            "AMQTASK_TASK_PUBLISH_RETRY": "false",
            "AMQTASK_TASK_REJECT_ON_WORKER_LOST": "false",
        }
    ).settings
    assert settings.broker_url == ("amqp://guest:guest@h/",)
    assert (settings.chord_expires, settings.beat_scheduler) == (60.0, "token")
    assert "AMQTASK_TASK_PUBLISH_RETRY has no effect" in caplog.text
    assert "AMQTASK_TASK_REJECT_ON_WORKER_LOST has no effect: write it into the program's settings" in caplog.text


def test_periodic_tasks_filled_in_before_a_module_is_read_are_kept():
    app = Amqtask("x")
    app.conf.beat_schedule["one"] = {"task": "a", "schedule": 3}
    app.config_from_object({"beat_schedule": {"two": {"task": "b", "schedule": 4}}})
    assert set(app.conf.beat_schedule) == {"one", "two"}
    app.conf.beat_schedule = {"three": {"task": "c", "schedule": 5}}
    assert set(app.conf.beat_schedule) == {"three"}


def test_a_schedule_that_is_no_mapping_is_an_error():
    with pytest.raises(ConfigError, match="beat_schedule.*a mapping is required, got list"):
        Amqtask("x", beat_schedule=[{"task": "a", "schedule": 3}])


def test_silent_does_not_hide_that_a_module_can_not_be_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "half_a_config.py").write_text("import no_such_module_at_all\n")
    with pytest.raises(ConfigError, match="no_such_module_at_all"):
        Amqtask("x").config_from_object("half_a_config", silent=True)
    Amqtask("x").config_from_object("no_such_package.config", silent=True)


def test_an_option_of_celerys_in_the_annotations_that_does_nothing_is_told(caplog):
    app = Amqtask("x", task_annotations={"*": {"track_started": True}})

    @app.task
    def one():
        pass

    app.load_tasks()
    assert one.track_started is True
    assert "track_started" in caplog.text
    assert "has no effect" in caplog.text
