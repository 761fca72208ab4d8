"""Commands about the worker's memory."""

from __future__ import annotations

import gc
import os
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.control.registry import inspect_command
from amqtask.worker.control import words
from amqtask.worker.process.memory import resident

if TYPE_CHECKING:
    from amqtask.control.registry import Panel

_MIB = 1024 * 1024

_samples: deque[tuple[float, int]] = deque(maxlen=1000)
"""(epoch seconds, bytes) of each memsample of this process."""


@inspect_command()
def memsample(panel: Panel, **_: Any) -> str | None:  # noqa: ARG001 -- every command gets the panel
    """Resident memory."""
    size = _resident()
    if size is None:
        return None
    _samples.append((clock.wall(), size))
    return f"{size / _MIB:.1f}MB"


@inspect_command(args=[("samples", int)], signature="[SAMPLES=10]")
def memdump(panel: Panel, samples: Any = 10, **_: Any) -> str:  # noqa: ARG001
    """The last results of memsample."""
    last = list(_samples)[-words.number(samples, "samples", least=1) :]
    lines = [f"- {at:.0f}: {size / _MIB:.1f}MB" for at, size in last]
    now = "unknown" if (size := _resident()) is None else f"{size / _MIB:.1f}MB"
    return "\n".join((*lines, f"- rss: {now}.", ""))


@inspect_command(
    args=[("type", str), ("num", int), ("max_depth", int)], signature="[TYPE=Request [NUM=200 [MAX_DEPTH=10]]]"
)
def objgraph(panel: Panel, type: Any = "Request", num: Any = 200, **_: Any) -> dict[str, Any]:  # noqa: A002, ARG001
    """How many objects there are of a type, and of the most frequent types."""
    counts = Counter(one.__class__.__name__ for one in gc.get_objects())
    return {"type": type, "count": counts.get(str(type), 0), "most": dict(counts.most_common(min(int(num), 20)))}


def _resident() -> int | None:
    """Bytes of memory that are really there; None where the system does not tell."""
    return resident(os.getpid()) * 1024 or None
