"""`amqtask demo` and `scripts/demo`: tasks run on a machine that has nothing but Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls

ROOT = Path(__file__).resolve().parents[2]


def test_it_shows_tasks_a_retry_and_a_dead_letter(terminal):
    ended = terminal.run("demo")
    assert ended.stderr == ""
    for pattern in (
        r"broker      amqp://guest:\*\*\*@127.0.0.1:\d+/%2F  \(in memory, for development only\)",
        r"done        demo.mail.welcome: 'welcomed ada@example.org'",
        r"retry       demo.mail.remind failed \(ConnectionError: the mail server is busy\); again in 0.3 s",
        r"done        demo.mail.remind: 'reminded grace@example.org'",
        r"dead letter demo.files.checksum failed for good: FileNotFoundError",
        r"5 tasks sent: 4 done, 1 retried, 1 dead letter",
    ):
        assert re.search(pattern, ended.stdout), ended.stdout


def test_a_routing_file_and_settings_of_other_apps_do_not_matter(terminal):
    (terminal.folder / "routing.yaml").write_text("nonsense")
    terminal.environment["AMQTASK_ROUTING"] = "elsewhere.yaml"
    assert "1 dead letter" in terminal.run("demo").stdout


@pytest.mark.parametrize("how", ["environment", "option"])
def test_on_a_broker_of_ones_own_nothing_is_left(terminal, how):
    url = terminal.broker()
    if how == "environment":
        terminal.environment["AMQTASK_BROKER_URL"] = url
    ended = terminal.run("demo", *(["-b", url] if how == "option" else []))
    assert "in memory" not in ended.stdout
    assert "5 tasks sent: 4 done" in ended.stdout
    with Admin(parse_urls(url), ConnectionOptions()) as admin:
        for name in (
            "amqtask.demo.mail",
            "amqtask.demo.mail.dead",
            "amqtask.demo.mail.retry.300",
            "amqtask.demo.files",
        ):
            assert admin.queue_state(name) is None


@pytest.mark.timeout(420)
def test_the_example_runs_on_the_dev_broker_and_leaves_nothing(tmp_path):
    if Path(sys.prefix) != ROOT / ".venv" or shutil.which("bash") is None:
        pytest.skip("scripts/demo makes and uses .venv, which these tests don't run in")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AMQTASK_", "BROKER_"))}
    ended = subprocess.run(
        [ROOT / "scripts" / "demo", "--count", "12"],
        env=environment | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "dev broker at 127.0.0.1:" in ended.stdout
    assert re.search(r"messages sent, \d+ done, 7 dead letters", ended.stdout)
    assert list(tmp_path.iterdir()) == []
