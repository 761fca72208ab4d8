"""Chords that RabbitMQ counts: the watch over them. Owns the name of the watch's task, and how often it looks.

Whoever begins such a chord sends a message of that task to the body's queue, delayed by the first pause, before any
member; its one argument is the body's signature. Workers do the rest (:mod:`amqtask.worker.chord_watch`).
"""

from __future__ import annotations

from datetime import timedelta

WATCH_TASK = "amqtask.chord_watch"
"""Never in a registry: each worker does it by itself."""

WATCH_PAUSES = (timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10))
"""Before the first, the second and every later look at a chord that is not complete."""


def watch_pause(looks: int) -> timedelta:
    """How long to wait before the next look, after so many of them."""
    return WATCH_PAUSES[min(max(looks, 0), len(WATCH_PAUSES) - 1)]
