"""Sending the work: a burst of large files first, then small ones one after the other.

Run it on its own with ``python -m examples.files.produce [COUNT]`` while workers run.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from examples.files import inputs
from examples.files.tasks import (
    announce,
    app,
    compress_large,
    compress_small,
    flaky,
    hash_large,
    hash_small,
    unpack_small,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PACE = 0.01
"""Seconds between two small files, as if a user uploaded them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be sent: paths of the files."""

    large: list[str]
    small: list[str]
    corrupt: list[str]
    unreadable: list[str]

    @property
    def flaky(self) -> list[str]:
        """Every twentieth small file comes from a disk that does not answer at first."""
        return self.small[::20]

    @property
    def runs(self) -> int:
        """How many messages the queues get: the announcement is one for each of the two."""
        good = len(self.large) + len(self.small) + len(self.flaky) + 2
        return good + self.bad

    @property
    def bad(self) -> int:
        """How many of them can only fail: each unreadable file is tried as a small and as a large one."""
        return len(self.corrupt) + 2 * len(self.unreadable)


def plan(count: int, folder: Path) -> Plan:
    """``count`` small files, a third as many large ones, and some trouble.

    Args:
        count: small files.
        folder: where to make the bad files; they have to stay until the tasks have run.
    """
    large = inputs.large_files(max(count // 3, 2))
    bad = inputs.bad_small_files(folder), inputs.unreadable_files(folder)
    return Plan(large, inputs.small_files(count), *bad)


def send(work: Plan, tick: Callable[[], None] = lambda: None) -> None:
    """Send it all; ``tick`` is called now and then."""
    hash_large.delay_many([(path,) for path in work.large[::2]])
    compress_large.delay_many([(path,) for path in work.large[1::2]])
    announce.delay("a fanout exchange puts this into both queues")
    for path in work.corrupt:
        unpack_small.delay(path)
    for path in work.unreadable:
        hash_small.delay(path)
        hash_large.delay(path)
    for number, path in enumerate(work.flaky):
        flaky.apply_async((path, 1 + number % 3), priority=9)
    for number, path in enumerate(work.small):
        (compress_small if number % 2 else hash_small).delay(path)
        tick()
        time.sleep(PACE)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    work = plan(count, Path(tempfile.mkdtemp(prefix="files-")))
    with app:
        send(work)
    print(f"sent {work.runs} messages, {work.bad} of them bad")
