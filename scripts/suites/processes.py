"""Running the stages: static checks that are silent when they hold, and pytest, shown as it goes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

LIMIT = 1800
"""Seconds a stage may take, several times what it needs on a slow machine; then pytest shows where it hangs."""
PATIENCE = 30
"""Seconds in which an interrupted pytest may end the brokers it has started."""
PYTHON = sys.executable
BIN = Path(PYTHON).parent
CHECKS = {
    "ruff check": ("ruff", "check"),
    "ruff format": ("ruff", "format", "--check"),
    "mypy": ("mypy",),
    "import-linter": ("lint-imports",),
}


def check(name: str) -> bool:
    """Run a static check; shows its output when it fails."""
    program, *words = CHECKS[name]
    done = subprocess.run(
        [BIN / program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode == 0


def pytest(targets: list[str], environment: dict[str, str], *, show: bool = True) -> tuple[int, str]:
    """Run pytest, showing what it writes if wanted; returns its exit code and that output."""
    lines = []
    with subprocess.Popen(
        [PYTHON, "-m", "pytest", *targets],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        alarm = threading.Timer(LIMIT, process.send_signal, [signal.SIGABRT])  # faulthandler writes all stacks
        alarm.start()
        try:
            for line in process.stdout:
                lines.append(line)
                if show:
                    print(line, end="", flush=True)
        except BaseException as error:
            _give_up(process, told=isinstance(error, KeyboardInterrupt))
            raise
        finally:
            alarm.cancel()
    return process.returncode, "".join(lines)


def _give_up(process: subprocess.Popen[str], *, told: bool) -> None:
    """End pytest, with time for what it has started; a terminal's Ctrl-C has ``told`` it already."""
    if not told:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
