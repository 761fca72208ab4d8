"""The types of the public API, as mypy --strict sees them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_mypy_accepts_what_is_right_and_refuses_what_is_wrong():
    """Wrong lines carry a ``type: ignore``; one that is not needed is an error of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "tests/typing/task_signatures.py"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
