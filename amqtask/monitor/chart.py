"""The chart of the overview: bars of the last minutes, drawn here as SVG. Owns its geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.monitor.views import Minute

HEIGHT = 100
STEP, BAR = 10, 8
"""Units of the drawing from one bar to the next, and of a bar."""

_LATELY = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """A minute.

    Attributes:
        x: of its left side.
        parts: of it, from the bottom: (class, upper edge, height); those of no height are left out.
        label: the same in words.
    """

    x: int
    parts: tuple[tuple[str, float, float], ...]
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """All minutes.

    Attributes:
        bars: the oldest first.
        width: of the drawing.
        top: the number that fills the height.
        succeeded, retried, failed: sums.
        lately: of all three, in the last five minutes.
    """

    bars: tuple[Bar, ...]
    width: int
    top: int
    succeeded: int
    retried: int
    failed: int
    lately: int

    @property
    def total(self) -> int:
        """Attempts that ended."""
        return self.succeeded + self.retried + self.failed


def draw(minutes: Sequence[Minute]) -> Chart:
    """The chart of attempts that ended in each minute, the oldest first."""
    top = _round_up(max((one.succeeded + one.retried + one.failed for one in minutes), default=0))
    bars = (_bar(place, one, len(minutes) - 1 - place, HEIGHT / top) for place, one in enumerate(minutes))
    return Chart(
        tuple(bars),
        len(minutes) * STEP,
        top,
        sum(one.succeeded for one in minutes),
        sum(one.retried for one in minutes),
        sum(one.failed for one in minutes),
        sum(one.succeeded + one.retried + one.failed for one in minutes[-_LATELY:]),
    )


def _bar(place: int, minute: Minute, back: int, unit: float) -> Bar:
    parts, upper = [], float(HEIGHT)
    for name, count in (("good", minute.succeeded), ("retry", minute.retried), ("bad", minute.failed)):
        if count:
            upper -= count * unit
            parts.append((name, round(upper, 2), round(count * unit, 2)))
    ended = f"{minute.succeeded:,} succeeded, {minute.retried:,} retried, {minute.failed:,} failed"
    return Bar(place * STEP + 1, tuple(parts), f"{f'{back} min ago' if back else 'this minute'}: {ended}")


def _round_up(most: int) -> int:
    """The next round number that is at least ``most``, and at least 1."""
    scale = 1
    while True:
        for step in (1, 2, 3, 4, 5, 6, 8):
            if step * scale >= most:
                return step * scale
        scale *= 10
