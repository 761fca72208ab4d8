"""What a worker and the scheduler find wrong with the settings before they start."""

from __future__ import annotations

import pytest

from amqtask import Amqtask, ConfigError
from amqtask.app.checking import check_settings
from amqtask.beat.service import start_beat
from amqtask.worker.assembly import load_tasks


def made(**settings):
    app = Amqtask("checked", **settings)
    app.task(print, name="print")
    return app


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"task_serializer": "jsn"}, "setting task_serializer: unknown serializer 'jsn'.*did you mean 'json'"),
        ({"result_serializer": "jsn"}, "setting result_serializer: unknown serializer"),
        ({"accept_content": ["json", "jsn"]}, "setting accept_content: unknown serializer"),
        ({"result_accept_content": ["jsn"]}, "setting result_accept_content: unknown serializer"),
        ({"task_compression": "gzp"}, "setting task_compression: unknown compression 'gzp'"),
        ({"result_compression": "gzp"}, "setting result_compression: unknown compression"),
        ({"timezone": "Europe/Bern"}, "setting timezone: 'Europe/Bern' is not a time zone"),
        (
            {"task_time_limit": 5, "task_soft_time_limit": 10},
            "setting task_soft_time_limit: 10 s is longer than task_time_limit, 5 s",
        ),
    ],
)
@pytest.mark.parametrize("start", [load_tasks, start_beat])
def test_setting_that_would_fail_each_task_is_an_error_at_the_start(start, settings, text):
    with pytest.raises(ConfigError, match=text):
        start(made(**settings))


def test_settings_of_celery_that_mean_the_same_are_none():
    app = made(
        task_serializer="application/json",
        accept_content=["application/x-msgpack", "json"],
        task_compression="gzip",
        result_backend="disabled://",
        task_time_limit=10,
        task_soft_time_limit=10,
    )
    check_settings(app.settings)
    assert app.results_backend is None


def test_worker_tells_of_a_periodic_task_that_the_scheduler_will_refuse(caplog):
    load_tasks(made(beat_schedule={"x": {"taks": "print", "schedule": 5}}))
    (record,) = caplog.records
    assert "periodic task 'x': there is no key 'taks'" in record.message
    assert "the scheduler (amqtask beat) will not start" in record.message
