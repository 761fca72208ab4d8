"""The worker's log as the settings of the app want it."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from amqtask import Amqtask, ConfigError, logs
from amqtask.cli.log_style import restyle

TASK = {"task": "shop.send", "task_id": "id-1"}


@pytest.fixture
def lines(monkeypatch):
    """The lines of a log that is set up as a worker's; left as it was found."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    stream = io.StringIO()
    logs.configure_logging("info", stream=stream)
    yield lambda: stream.getvalue().splitlines()
    logs.provide_task_fields(lambda: None)
    root.handlers[:] = before
    root.setLevel(level)


def styled(**settings):
    restyle(Amqtask("x", **settings).settings)


def test_formats_of_the_app_replace_amqtasks(lines):
    styled(
        worker_log_format="%(levelname)s|%(message)s", worker_task_log_format="%(task_name)s/%(task_id)s|%(message)s"
    )
    logging.getLogger("shop").info("one")
    logs.provide_task_fields(lambda: TASK)
    logging.getLogger("shop").info("two")
    assert lines() == ["INFO|one", "shop.send/id-1|two"]


def test_formats_may_name_the_trace_of_a_task(lines):
    styled(worker_log_format="%(trace_id)s|%(message)s")
    logs.provide_task_fields(lambda: TASK)
    logging.getLogger("shop").info("one")
    before = logs._Source.trace_fields
    logs.provide_trace_fields(lambda: {"trace_id": "4bf9", "span_id": "00f0"})
    try:
        logging.getLogger("shop").info("two")
    finally:
        logs.provide_trace_fields(before)
    assert lines() == ["|one", "4bf9|two"]


def test_celerys_own_format_can_be_written_down(lines):
    styled(
        worker_log_format="[%(asctime)s: %(levelname)s/%(processName)s] %(message)s",
        worker_task_log_format="[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s",
        worker_log_datefmt="%Y",
    )
    logging.getLogger("shop").info("one")
    (line,) = lines()
    assert line.endswith(": INFO/MainProcess] one")
    assert len(line.partition(":")[0]) == len("[2026")


def test_the_time_of_amqtasks_own_lines_can_be_changed(lines):
    styled(worker_log_datefmt="at %H")
    logging.getLogger("shop").warning("one")
    assert lines()[0].startswith("[at ")


def test_colours_can_be_asked_for(lines):
    styled(worker_log_color=True, worker_log_format="%(message)s")
    logging.getLogger("shop").warning("one")
    assert lines() == ["\x1b[33mone\x1b[0m"]


def test_a_log_of_the_app_keeps_what_it_does_when_the_worker_must_not_write_one(lines):
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, logs.LogHandler)]
    styled(worker_hijack_root_logger=False)
    logging.getLogger("shop").info("nobody else writes")
    own = logging.StreamHandler(io.StringIO())
    root.addHandler(own)
    styled(worker_hijack_root_logger=False)
    logging.getLogger("shop").info("the app does")
    assert len(lines()) == 1
    assert own.stream.getvalue() == "the app does\n"


def test_what_tasks_print_is_logged_and_what_others_print_is_not(lines, capsys):
    styled(
        worker_redirect_stdouts=True,
        worker_redirect_stdouts_level="ERROR",
        worker_log_format="%(levelname)s %(message)s",
    )
    print("no task runs")  # noqa: T201
    logs.provide_task_fields(lambda: TASK)
    print("one\ntwo")  # noqa: T201
    print("half", end="", file=sys.stderr)  # noqa: T201
    print(" a line", file=sys.stderr)  # noqa: T201
    print("rest", end="", flush=True)  # noqa: T201
    assert lines() == ["ERROR one", "ERROR two", "ERROR half a line", "ERROR rest"]
    logs.provide_task_fields(lambda: None)
    assert capsys.readouterr().out == "no task runs\n"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"worker_log_format": "%(nonsense)s"}, "worker_log_format.*nonsense"),
        ({"worker_redirect_stdouts": True, "worker_redirect_stdouts_level": "loud"}, "unknown log level 'loud'"),
    ],
)
def test_what_logging_does_not_know_is_refused(lines, settings, said):
    with pytest.raises(ConfigError, match=said):
        styled(**settings)
