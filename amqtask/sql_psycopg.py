"""PostgreSQL's connections with a deadline for each answer, which psycopg has no option for. Owns that deadline.

A server that was stopped, or a host that is gone, takes what is sent for a long time, or never says a word; without a
deadline a thread waits for it for a quarter of an hour, or for ever. Takes psycopg 3.2.11: what is compiled of earlier
ones goes through no step while nothing comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from amqtask import clock

if TYPE_CHECKING:
    from collections.abc import Generator

    T = TypeVar("T")


class Late(psycopg.OperationalError):
    """The server has not answered in time; the connection is closed."""


class BoundedConnection(psycopg.Connection[Any]):
    """One whose questions are answered in time, or fail.

    Attributes:
        seconds: that the server may be silent meanwhile.
    """

    seconds = 30.0

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """As psycopg's. Raises Late."""
        try:
            return super().wait(_unless_silent(gen, self.seconds), *args, **options)
        except Late:
            self.pgconn.finish()  # the answer may still come, and would be taken for the next one
            raise


def _unless_silent(steps: Generator[Any, Any, T], seconds: float) -> Generator[Any, Any, T]:
    """The same steps, of which psycopg goes through one every tenth of a second even when nothing has come."""
    heard = clock.monotonic()
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            wanted = steps.send(ready)
            now = clock.monotonic()
            if ready:
                heard = now
            elif now - heard >= seconds:
                raise Late(f"no answer within {seconds:g} s")
    except StopIteration as end:
        result: T = end.value
        return result
