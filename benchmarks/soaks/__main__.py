"""Soaks of workers, on a private broker: ``python -m soaks NAME ...``. See benchmarks/README.md."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from soaks.workers import broker

NAMES = ("idle", "crowd", "memory", "sigterm", "children")


def main() -> None:
    """Run the soaks that are named and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m soaks", description=__doc__)
    parser.add_argument("soaks", nargs="+", choices=NAMES)
    parser.add_argument("--size", type=int, help="workers, tasks or lives; by default the full number")
    options = parser.parse_args()
    for name in options.soaks:
        folder = Path(tempfile.mkdtemp(prefix="amqtask-soak-"))
        with broker(folder) as node:
            from soaks import children, idle, memory, sigterm  # noqa: PLC0415 -- their app reads the broker's address

            runs = {
                "idle": idle.idle,
                "crowd": idle.crowd,
                "memory": memory.memory,
                "sigterm": sigterm.sigterm,
                "children": children.children,
            }
            sized = () if options.size is None else (options.size,)
            figures = runs[name](node, folder, *sized)
        print(name, *(f"{key}={value:.4g}" for key, value in figures.items()), sep="  ", flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
