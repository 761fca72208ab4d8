"""`amqtask init`: the project it writes runs, as a new user would run it."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from amqtask.topology.document import load

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "README.md", "docker-compose.yml", "pyproject.toml", "routing.yaml", "send.py", "tasks.py", "tests/test_tasks.py",
}  # fmt: skip


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_new_user_gets_a_project_that_tests_itself_and_runs(terminal):
    said = terminal.run("init", "shop").stdout
    terminal.folder /= "shop"
    assert written(terminal.folder) == FILES
    commands = re.findall(r"^  (\S.*?)(?:   .*)?$", said, re.MULTILINE)
    assert commands == ["cd shop", "amqtask dev -A tasks", "python send.py", "python -m pytest"]

    tests = terminal.python("-m", "pytest", "-p", "no:cacheprovider")
    assert tests.returncode == 0, tests.stdout
    assert "4 passed" in tests.stdout

    terminal.start("dev", "-A", "tasks", "--port", "0")
    terminal.wait_for(" ready, consuming ", 2)
    (url,) = re.findall(r"export AMQTASK_BROKER_URL=(\S+)", terminal.err)
    terminal.environment["AMQTASK_BROKER_URL"] = url
    assert terminal.python("send.py").stdout == "sent 4 tasks\n"
    terminal.wait_for(r"mail    \| .*'welcomed ada@example.org'")
    terminal.wait_for(r"reports \| .*succeeded in .*: 16")
    terminal.wait_for(r"mail    \| .*'welcomed grace@example.org'")
    terminal.wait_for(r"shop.mail.welcome.* retry in 1s: ValueError: no address: nowhere")
    assert terminal.stop() == 0
    assert "Traceback" not in terminal.err


def test_its_code_is_formatted(terminal):
    terminal.run("init")
    folder = terminal.folder
    ended = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--check", "tasks.py", "send.py", "tests"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_nothing_is_overwritten(terminal):
    (terminal.folder / "send.py").write_text("mine")
    err = terminal.run("init", code=64).stderr
    assert "Nothing was written: send.py is there already" in err
    assert written(terminal.folder) == {"send.py"}
    assert (terminal.folder / "send.py").read_text() == "mine"


@pytest.mark.parametrize("folder", ["on", "2026 Nov", "My Shop!", "über", "x-y"])
def test_any_name_of_a_folder_makes_a_sound_project(terminal, folder):
    terminal.run("init", folder)
    topology = load(terminal.folder / folder / "routing.yaml")
    assert set(topology.queues) >= {"mail", "reports"}
    compose = yaml.safe_load((terminal.folder / folder / "docker-compose.yml").read_text())
    user = compose["services"]["rabbitmq"]["environment"]["RABBITMQ_DEFAULT_USER"]
    assert isinstance(user, str)
    assert f"amqp://{user}:{user}@localhost" in (terminal.folder / folder / "README.md").read_text()


def test_a_folder_that_cannot_be_written_is_told(terminal):
    (terminal.folder / "shop").write_text("a file")
    err = terminal.run("init", "shop", code=78).stderr
    assert "can't write shop/" in err


def test_the_templates_are_in_the_wheel(tmp_path):
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"amqtask/cli/project/{name}.tmpl" for name in FILES} <= set(names)
