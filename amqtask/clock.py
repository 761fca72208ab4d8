"""The one seam for time: wall clock for what leaves the process, monotonic clock for measuring.

Owns nothing else. Code asks this module, so that tests can replace two functions instead of patching ``time``.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

monotonic = time.monotonic
"""Seconds that only grow; for timeouts and run times."""

wall = time.time
"""Seconds since the epoch; for ids and everything that crosses a process."""


def utcnow() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.fromtimestamp(wall(), tz=UTC)
