"""How much memory this process takes, and a worker with its children. Owns the measuring, from /proc.

Children share pages with the process that they were forked of; so the proportional size counts (PSS), in which a page
of three processes is a third of a page of each. Where the kernel does not tell it, the resident size does.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_OWN = "/proc/self/statm"
_PAGE = os.sysconf("SC_PAGE_SIZE") // 1024


def own_resident() -> int:
    """KiB that this process has in memory; where the system does not tell, the most there ever was."""
    try:
        return int(_read_own().split()[1]) * _PAGE
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _read_own() -> bytes:
    """Without a file object, which costs more than the rest: children ask after each task."""
    descriptor = os.open(_OWN, os.O_RDONLY)
    try:
        return os.read(descriptor, 128)
    finally:
        os.close(descriptor)


def family(pid: int) -> list[int]:
    """The process and its descendants, as far as they still are there."""
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        with suppress(OSError):  # it has ended meanwhile
            for thread in (_PROC / str(one) / "task").iterdir():
                left += map(int, (thread / "children").read_text().split())
    return found


def resident(pid: int) -> int:
    """KiB that a process has in memory; 0 when it is gone."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def proportional(pid: int) -> int:
    """KiB of that for which it is alone accountable; to be asked seldom, for the kernel looks at every page."""
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return resident(pid)


def measurable() -> bool:
    """Does this system tell?"""
    return Path(_OWN).exists()


def family_memory(pid: int, enough: float) -> int:
    """KiB that a process and its descendants take together; at most that, when it is less than ``enough`` anyway."""
    pids = family(pid)
    most = sum(map(resident, pids))
    return most if most < enough else sum(map(proportional, pids))
