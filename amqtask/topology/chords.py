"""The watch over chords. Owns the name of its task, how often it looks, and how long a chord is remembered.

Whoever begins a chord sends a message of that task to the body's queue, delayed by the first pause, before any member;
its one argument is the body's signature. A chord that the result backend counts is named beside it: ``group_id``, and
``deadline`` in seconds since the epoch. Workers do the rest (:mod:`amqtask.worker.chords.watch`).
"""

from __future__ import annotations

from datetime import timedelta

WATCH_TASK = "amqtask.chord_watch"
"""Never in a registry: each worker does it by itself."""

WATCH_PAUSES = (timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10))
"""Before the first, the second and every later look at a chord that is not complete."""


def lifetime(chord_expires: float) -> float:
    """Seconds for which a chord is remembered while nothing happens: workers that come after its deadline find it."""
    return max(2 * chord_expires, 3600.0)


def watch_pause(looks: int) -> timedelta:
    """How long to wait before the next look, after this many of them."""
    return WATCH_PAUSES[min(max(looks, 0), len(WATCH_PAUSES) - 1)]
