"""Worker processes of the soaks, and what the broker counts. Owns starting and watching them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.node import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.node import Node

HOME = Path(__file__).resolve().parents[1]
_COUNTER = re.compile(r"messages_(\w+)_total\s*=>\s*(\d+)")


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[Node]:
    """A private broker, named in the environment, with an empty file of marks."""
    with running() as node:
        os.environ.update(
            BENCH_BROKER=node.url,
            SOAK_MARKS=str(folder / "marks"),
            PYTHONPATH=f"{HOME}{os.pathsep}{HOME.parent}",
        )
        (folder / "marks").touch()
        yield node


def worker(*options: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a worker; its process group is its own."""
    command = [sys.executable, "-m", "amqtask", "-A", "soaks.soak_app", "worker", "-l", "warning", *options]
    with log.open("ab") as output:
        return subprocess.Popen(command, cwd=HOME, stdout=output, stderr=output, start_new_session=True)


def marks() -> list[int]:
    """Every mark that tasks have left."""
    return [int(line) for line in Path(os.environ["SOAK_MARKS"]).read_bytes().split()]


def counters(node: Node) -> dict[str, int]:
    """Messages that the node has received, delivered, and so on, since it started, over all protocols and queues."""
    text = node.ctl("eval", "rabbit_global_counters:overview().")
    found: dict[str, int] = {}
    for name, value in _COUNTER.findall(text):
        found[name] = found.get(name, 0) + int(value)
    return found
