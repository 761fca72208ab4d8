"""The files to work on: real ones of this machine's Python, and a few bad ones made for the purpose."""

from __future__ import annotations

import gzip
import itertools
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SMALL = 64 * 1024
LARGE = 1 << 20
HUGE = 4 << 20
"""Sizes in bytes: up to SMALL is small, LARGE to HUGE is large."""


def small_files(count: int) -> list[str]:
    """Sources of the standard library; they repeat when more are asked for than there are."""
    sources = Path(sysconfig.get_path("stdlib")).rglob("*.py")
    return _take(count, (path for path in sources if 0 < _size(path) <= SMALL), Path(os.__file__))


def large_files(count: int) -> list[str]:
    """Shared libraries and archives over 1 MiB; the interpreter itself when there are none."""
    named = {
        sysconfig.get_config_var("LIBDIR"),
        f"{sys.base_prefix}/lib",
        sysconfig.get_path("stdlib"),
        "/usr/lib",
    }
    folders = [Path(name) for name in sorted(name for name in named if name)]
    found = {
        path.resolve()
        for folder in folders
        for pattern in ("*.so*", "*.a", "*.whl", "*-linux-gnu/*.so*", "lib-dynload/*.so")
        for path in folder.glob(pattern)
    }
    return _take(count, (path for path in found if LARGE < _size(path) <= HUGE), Path(sys.executable).resolve())


def bad_small_files(folder: Path) -> list[str]:
    """Gzip files that can't be unpacked: cut off, damaged, and no gzip at all."""
    good = gzip.compress(Path(os.__file__).read_bytes())
    middle = len(good) // 2
    contents = {
        "cut-off.gz": good[:middle],
        "damaged.gz": good[:middle] + bytes(64) + good[middle + 64 :],
        "no-gzip.gz": b"this was never a gzip file",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]


def unreadable_files(folder: Path) -> list[str]:
    """A file that does not exist, and one that may not be read (for root, who may read all: a folder)."""
    locked = folder / "locked.bin"
    if os.geteuid() == 0:
        locked.mkdir()
    else:
        locked.write_bytes(b"secret")
        locked.chmod(0)
    return [str(folder / "missing.bin"), str(locked)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _take(count: int, found: Iterable[Path], otherwise: Path) -> list[str]:
    paths = sorted(found) or [otherwise]
    return [str(path) for path in itertools.islice(itertools.cycle(paths), count)]
