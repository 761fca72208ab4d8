"""Watches files and prints what changes, a line for each burst: ``python -m amqtask.cli.watcher FOLDER...``.

A process of its own, so that the supervisor keeps to one thread. Owns which files count: Python and YAML, outside of
hidden folders, caches and environments. Needs the package watchfiles.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANGED = "changed: "
"""What a line about changes begins with; any other line is about trouble."""

_NAMED = 3
"""How many files a line names; it counts the others."""


def main(folders: list[str]) -> None:
    """Print changes until the process is ended."""
    from watchfiles import PythonFilter, watch  # noqa: PLC0415 -- optional, and slow to load

    wanted = PythonFilter(extra_extensions=(".yaml", ".yml"))
    for changes in watch(*folders, watch_filter=wanted, raise_interrupt=False):
        print(CHANGED + describe({path for _, path in changes}), flush=True)


def describe(paths: Iterable[str]) -> str:
    """``tasks.py, routing.yaml and 3 more``, seen from the current folder."""
    here = Path.cwd()
    found = [Path(path) for path in sorted(paths)]
    names = [str(path.relative_to(here) if path.is_relative_to(here) else path) for path in found]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Exception as error:
        sys.exit(f"can't watch files: {error}")
