"""Task ids: UUIDv7 (RFC 9562), so that the age of a task can be read from its id.

Owns id generation and reading. Ids made by one process grow strictly, unless its clock is set back by over ten seconds.
"""

from __future__ import annotations

import os
from threading import Lock

from amqtask import clock

_SECOND = 1_048_576_000
"""Milliseconds, with 20 bits of fraction below them."""
_SET_BACK = 10 * _SECOND
"""A clock that goes back by more was wrong before; ids that follow it no more would look as if made in the future."""

_lock = Lock()
_last = 0


def new_id() -> str:
    """A new UUIDv7, 36 characters. Thread-safe, and safe after a fork: 54 of its bits are random."""
    global _last  # noqa: PLW0603 -- the counter is the point: ids of one process grow strictly
    now = int(clock.wall() * _SECOND)
    with _lock:
        _last = now = _last + 1 if _last - _SET_BACK < now <= _last else now
    # 12 bits of the fraction stand beside the version, as RFC 9562 section 6.2, method 3 allows; the other 8
    # lead the random part, so that the order holds below a quarter of a microsecond too.
    value = (
        (now & ~0xF_FFFF) << 60
        | (now & 0xF_FF00) << 56
        | (now & 0xFF) << 54
        | int.from_bytes(os.urandom(8), "big") & 0x3F_FFFF_FFFF_FFFF
        | 0x7000_8000_0000_0000_0000  # version 7, and the variant
    )
    text = value.to_bytes(16, "big").hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 -- another thread may have held it when the process forked
    _lock = Lock()


os.register_at_fork(after_in_child=_after_fork)


def born(task_id: str) -> float | None:
    """When a UUIDv7 was made, in seconds since the epoch; None for any other id."""
    digits = task_id.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":  # noqa: PLR2004 -- the layout of RFC 9562
        return None
    try:
        return int(digits[:12], 16) / 1000
    except ValueError:
        return None
