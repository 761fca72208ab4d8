"""The example project of the page on testing, run as its reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "testing"
PAGE = (ROOT / "docs" / "how-to" / "testing.md").read_text()
SHOWN = dict(re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture
def project(tmp_path):
    """The files as the page shows them, with the empty ones that a reader adds."""
    for name, content in SHOWN.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    (tmp_path / "shop" / "__init__.py").touch()
    return tmp_path


def run(folder, *words):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AMQTASK_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )


def test_the_page_shows_the_example_as_it_is():
    files = {str(path.relative_to(EXAMPLE)) for path in EXAMPLE.rglob("*.py")} - {"shop/__init__.py"}
    assert set(SHOWN) == files | {"pyproject.toml", "routing.yaml"}
    for name, content in SHOWN.items():
        assert content == (EXAMPLE / name).read_text(), name


def test_its_tests_pass_with_warnings_as_errors(project):
    done = run(project, "pytest", "-W", "error", "--strict-markers", "--strict-config")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{''.join(SHOWN.values()).count('def test_')} passed" in done.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Of mypy: amqtask itself is read once for both projects."""
    return str(tmp_path_factory.mktemp("mypy"))


def test_its_types_are_right(project, cache):
    done = run(
        project, "mypy", "--strict", "--cache-dir", cache, "-p", "shop", "-m", "tests.test_shop",
        "-m", "tests.test_results",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_of_what_init_writes_are_right(terminal, cache):
    terminal.run("init")
    done = run(terminal.folder, "mypy", "--strict", "--cache-dir", cache, "tasks.py", "send.py", "tests")
    assert done.returncode == 0, done.stdout + done.stderr
