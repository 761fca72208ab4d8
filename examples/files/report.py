"""The demo's progress bar and tables: with rich on a terminal, as plain text elsewhere."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Self

from examples.files.measure import percentile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from examples.files.measure import Attempt


def _has_rich() -> bool:
    try:
        import rich  # noqa: F401, PLC0415 -- optional
    except ImportError:
        return False
    return True


_TEXT = {"queue", "task", "reason", "error"}

LIVELY = sys.stdout.isatty() and _has_rich()


class Bar:
    """Shows how many tasks have ended; a line every two seconds where there is no terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._last = total, time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Self:
        if LIVELY:
            from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn  # noqa: PLC0415

            columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns)
            self._bar.start()
            self._task = self._bar.add_task("tasks", total=self._total)
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, ended: int) -> None:
        """So many tasks have ended."""
        if self._bar is not None:
            self._bar.update(self._task, completed=ended)
        elif ended == self._total or time.monotonic() - self._last > 2:  # noqa: PLR2004 -- seconds
            self._last = time.monotonic()
            print(f"  {ended} of {self._total} tasks have ended", flush=True)


def table(queues: Sequence[str], notes: Sequence[Attempt], dead: Mapping[str, int]) -> None:
    """Per queue: how many tasks, how long they waited and ran, what went wrong."""
    by_queue: dict[str, list[Attempt]] = defaultdict(list)
    for note in notes:
        by_queue[note.queue].append(note)
    heads = ("queue", "tasks", "wait p50", "wait p95", "run p50", "run p95", "retries", "dead letters")
    rows = []
    for name in queues:
        first = [note for note in by_queue[name] if note.retries == 0]
        waits, runs = [note.wait for note in first], [note.run for note in by_queue[name]]
        times = (percentile(values, share) for values in (waits, runs) for share in (0.5, 0.95))
        retries = len(by_queue[name]) - len(first)
        rows.append((name, str(len(first)), *map(_duration, times), str(retries), str(dead.get(name, 0))))
    _print_table("What was measured", heads, rows)


def dead_letters(letters: Sequence[Mapping[str, Any]]) -> None:
    """Each dead letter with its reason."""
    heads = ("task", "reason", "attempts", "error")
    rows = [
        (each["task"], each["reason"], str(each["attempts"]), f"{each['exception']}: {each['message']}")
        for each in letters
    ]
    _print_table("Dead letters", heads, rows)


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if LIVELY:
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        shown = Table(title=title, title_justify="left")
        for head in heads:
            shown.add_column(head, justify="left" if head in _TEXT else "right")
        for row in rows:
            shown.add_row(*row)
        Console().print("", shown)
        return
    widths = [max(len(line[column]) for line in (heads, *rows)) for column in range(len(heads))]
    print(f"\n{title}")
    for line in (heads, *rows):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
