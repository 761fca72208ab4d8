"""Flags of ``amqtask worker``: which setting each one sets, in Celery's spellings too, and in any place."""

from __future__ import annotations

import click
import pytest

from amqtask import Amqtask
from amqtask.cli.commands.worker import COMMAND, _set
from amqtask.cli.setup import Setup
from amqtask.cli.worker_options import chosen_settings, needless
from amqtask.config.sources import Source


def parsed(*words: str) -> click.Context:
    return COMMAND.make_context("worker", list(words), obj=Setup())


@pytest.mark.parametrize(
    ("words", "setting", "value"),
    [
        (["-E"], "worker_send_task_events", True),
        (["--events"], "worker_send_task_events", True),
        (["--task-events"], "worker_send_task_events", True),
        (["--time-limit", "30"], "task_time_limit", 30.0),
        (["--time-limit=1m30s"], "task_time_limit", 90.0),
        (["--soft-time-limit", "25"], "task_soft_time_limit", 25.0),
        (["--max-tasks-per-child", "100"], "worker_max_tasks_per_child", 100),
        (["--maxtasksperchild=100"], "worker_max_tasks_per_child", 100),
        (["--max-memory-per-child", "12000"], "worker_max_memory_per_child", 12000),
        (["--maxmemperchild=512MiB"], "worker_max_memory_per_child", 512 * 1024),
        (["--max-memory", "2GiB"], "worker_max_memory", 2 * 1024 * 1024),
        (["--autoscale", "10,3"], "worker_autoscale", "10,3"),
        (["--heartbeat-interval", "5"], "worker_heartbeat_interval", 5.0),
        (["--health", ":8080"], "worker_health", ":8080"),
        (["--metrics", ":9808"], "worker_metrics", ":9808"),
        (["--fail-fast"], "broker_connection_retry_on_startup", False),
        (["-s", "beat.db"], "beat_schedule_filename", "beat.db"),
        (["--schedule-filename", "beat.db"], "beat_schedule_filename", "beat.db"),
        (["--scheduler", "token"], "beat_scheduler", "token"),
        (["--prefetch-multiplier", "4"], "worker_prefetch_multiplier", 4),
        (["--disable-prefetch"], "worker_disable_prefetch", True),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_flag_sets_its_setting(words, setting, value):
    app = Amqtask("flags")
    _set(app, chosen_settings(parsed(*words)), ())
    assert getattr(app.settings, setting) == value
    assert app.configuration.origin(setting) is Source.COMMAND_LINE


def test_without_flags_nothing_is_set():
    assert chosen_settings(parsed()) == {}


def test_a_wrong_value_is_a_usage_error_that_names_the_flag():
    with pytest.raises(click.BadParameter, match="more than 0") as refused:
        parsed("--time-limit", "0")
    assert refused.value.param is not None
    assert "--time-limit" in refused.value.param.opts


@pytest.mark.parametrize(
    ("words", "parameter", "value"),
    [
        (["-c", "auto"], "concurrency", None),
        (["-c", "3"], "concurrency", 3),
        (["--purge"], "purge", True),
        (["--discard"], "purge", True),
        (["-B"], "beat", True),
        (["-D"], "detach", True),
        (["--umask", "027"], "umask", 0o27),
        (["-f", "%n.log"], "logfile", "%n.log"),
        (["-l", "INFO"], "loglevel", "info"),
        (["-X", "a,b"], "exclude", ("a", "b")),
    ],
)
def test_a_flag_about_the_process_reaches_the_command(words, parameter, value):
    assert parsed(*words).params[parameter] == value


@pytest.mark.parametrize("word", ["0", "-1", "many"])
def test_concurrency_is_a_number_or_auto(word):
    with pytest.raises(click.BadParameter, match="auto"):
        parsed(f"-c{word}")


def test_flags_of_celery_that_have_nothing_to_do_here_are_accepted_and_told():
    words = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--skip-checks", "-S", "w.db"]
    assert needless(parsed(*words, "--pool-start-method", "spawn")) == [
        "--without-gossip", "--without-mingle", "--without-heartbeat", "--skip-checks", "--statedb",
        "--pool-start-method",
    ]  # fmt: skip
