"""Deeds: what workers have done, as numbers that can be summed and sent. Owns the value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amqtask.execution.job import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amqtask.worker.custody.counts import Counts


class Deeds(NamedTuple):
    """What workers have done.

    Attributes:
        received: messages that arrived, those recognised as copies included.
        succeeded: attempts that returned.
        retried: attempts after which another one follows.
        ignored: attempts that ended with ``Ignore``.
        put_back: attempts that ended with ``Reject(requeue=True)``.
        dead: messages that went to the dead letters.
        busy: tasks that run now, or whose end is being stored.
    """

    received: int = 0
    succeeded: int = 0
    retried: int = 0
    ignored: int = 0
    put_back: int = 0
    dead: int = 0
    busy: int = 0

    @classmethod
    def of(cls, counts: Counts, busy: int) -> Deeds:
        """Of one worker."""
        ended = dict(counts.ended)
        return cls(
            counts.received,
            ended.get(Kind.SUCCESS, 0),
            ended.get(Kind.RETRY, 0),
            ended.get(Kind.IGNORED, 0),
            ended.get(Kind.REQUEUE, 0),
            counts.dead,
            busy,
        )

    @classmethod
    def sum(cls, several: Iterable[Deeds]) -> Deeds:
        """Of several workers."""
        return cls(*map(sum, zip(cls(), *several, strict=True)))
