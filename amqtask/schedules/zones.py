"""The way between wall clocks and UTC around their jumps, and what a zone is called. Owns both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


def zone_name(zone: tzinfo) -> str:
    """The name by which :mod:`amqtask.config.zones` finds it; of others (a fixed offset) what they call themselves."""
    return getattr(zone, "key", None) or str(zone)


def at_wall(moment: datetime, zone: tzinfo) -> datetime:
    """When a naive wall clock time comes first in a zone, in UTC.

    A time that the clocks skip becomes the first valid minute after the gap.
    """
    aware = moment.replace(tzinfo=zone, fold=0)
    back = aware.astimezone(UTC)
    if back.astimezone(zone).replace(tzinfo=None) == moment:
        return back
    return _end_of_gap(aware, zone)


def _end_of_gap(skipped: datetime, zone: tzinfo) -> datetime:
    """Clocks jump at one instant: halve the time around it until only that is left."""
    # read with the offset from before the jump the skipped time lies after it, with the one from behind it before it
    first = skipped.replace(fold=1).astimezone(UTC)
    last = skipped.replace(fold=0).astimezone(UTC)
    after = last.astimezone(zone).utcoffset()
    while last - first > timedelta(seconds=1):
        middle = first + (last - first) // 2
        if middle.astimezone(zone).utcoffset() == after:
            last = middle
        else:
            first = middle
    return last.replace(microsecond=0)
