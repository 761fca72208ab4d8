"""The README's quick start and its example with RabbitMQ, word for word, and its links."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
QUICK_START = README.partition("## Quick start")[2].partition("\n## ")[0]
BY_HAND = README.partition("## With RabbitMQ")[2].partition("\n## ")[0]
FILES = dict(re.findall(r"^`([\w.]+)`\n\n```\w+\n(.*?)^```", BY_HAND, flags=re.MULTILINE | re.DOTALL))


def commands(text: str) -> list[str]:
    """The blocks of shell commands in it."""
    return re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def user() -> dict[str, str]:
    """The environment of somebody who has installed amqtask, and set nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AMQTASK_")}
    return environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}


def test_the_quick_start_works_as_it_is_written(tmp_path, user):
    first, second = commands(QUICK_START)
    log = tmp_path / "log"
    with log.open("w") as output:
        *before, dev = first.strip().splitlines()
        line = " && ".join([*before, f"exec {dev}"])
        running = subprocess.Popen(["bash", "-c", line], cwd=tmp_path, env=user, stdout=output, stderr=output)
    try:
        wait_for(lambda: log.read_text().count(" ready, consuming ") == 2, timeout=30)
        (url,) = re.findall(r"export AMQTASK_BROKER_URL=(\S+)", log.read_text())
        other = user if ":5672/" in url else user | {"AMQTASK_BROKER_URL": url}
        ended = subprocess.run(
            ["bash", "-ec", second], cwd=tmp_path / "shop", env=other, text=True, capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        wait_for(lambda: "welcomed grace@example.org" in log.read_text(), timeout=30)
    finally:
        running.terminate()
        code = running.wait(timeout=30)
    assert code == 0, log.read_text()


@pytest.fixture
def shop(tmp_path, vhost_url, user):
    """A folder with the files of the example, and the environment of its user."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    return tmp_path, user | {"AMQTASK_BROKER_URL": vhost_url}


def test_the_example_with_rabbitmq_works_as_it_is_written(shop):
    folder, environment = shop
    assert set(FILES) == {"routing.yaml", "tasks.py", "send.py"}
    (block,) = commands(BY_HAND)
    worker, *others = block.strip().splitlines()
    assert worker.endswith(" &")
    log = folder / "worker.log"
    with log.open("w") as output:
        running = subprocess.Popen(
            ["bash", "-c", f"exec {worker.removesuffix(' &')}"],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        answers = [
            subprocess.run(
                ["bash", "-ec", command], cwd=folder, env=environment, text=True, capture_output=True, check=False
            )
            for command in others
        ]
        assert [answer.returncode for answer in answers] == [0] * len(others), answers
        wait_for(lambda: "welcomed grace@example.org" in log.read_text(), timeout=30)
    finally:
        running.terminate()
        code = running.wait(timeout=30)
    assert code == 0
    assert "welcomed ada@example.org" in log.read_text()
    assert log.read_text().count("succeeded in") == 2


def test_a_fresh_machine_takes_exactly_two_commands():
    found = commands(README)[0].split()
    assert found == ["scripts/demo", "scripts/test"]
    assert all(os.access(ROOT / command, os.X_OK) for command in found)


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    broken = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not broken
