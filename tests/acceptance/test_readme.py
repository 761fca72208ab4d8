"""The README's quick start, word for word, and its links."""

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
FILES = dict(re.findall(r"^`([\w.]+)`\n\n```\w+\n(.*?)^```", QUICK_START, flags=re.MULTILINE | re.DOTALL))
(COMMANDS,) = re.findall(r"^```bash\n(.*?)^```", QUICK_START, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def shop(tmp_path, vhost_url):
    """A folder with the quick start's files, and the environment of its user."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AMQTASK_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return tmp_path, environment | {"AMQTASK_BROKER_URL": vhost_url, "PATH": path}


def test_the_quick_start_works_as_it_is_written(shop):
    folder, environment = shop
    assert set(FILES) == {"routing.yaml", "tasks.py", "send.py"}
    worker, *commands = COMMANDS.strip().splitlines()
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
            for command in commands
        ]
        assert [answer.returncode for answer in answers] == [0] * len(commands), answers
        wait_for(lambda: "welcomed grace@example.org" in log.read_text(), timeout=30)
    finally:
        running.terminate()
        code = running.wait(timeout=30)
    assert code == 0
    assert "welcomed ada@example.org" in log.read_text()
    assert log.read_text().count("succeeded in") == 2


def test_a_fresh_machine_takes_exactly_two_commands():
    (block, _quick_start) = re.findall(r"^```bash\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    commands = block.split()
    assert commands == ["scripts/demo", "scripts/test"]
    assert all(os.access(ROOT / command, os.X_OK) for command in commands)


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    broken = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not broken
