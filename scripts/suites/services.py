"""The servers that tests of result backends use: installed before these begin, for that may take a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suites.plan import Stage

SCRIPT = Path(__file__).resolve().parents[1] / "services"
TESTS = "tests/conformance/results"


def needed(plan: Iterable[Stage]) -> bool:
    """Whether any stage has tests of result backends."""
    targets = (target.partition("::")[0].rstrip("/") for stage in plan for target in stage.targets)
    return any(f"{TESTS}/".startswith(f"{target}/") or target.startswith(TESTS) for target in targets)


def install(plan: Iterable[Stage]) -> None:
    """Install what is missing, if it is needed; what can't be had is said here, and its tests are skipped."""
    if needed(plan):
        subprocess.run([sys.executable, SCRIPT, "install"], check=False)
