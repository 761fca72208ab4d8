"""Runs the scheduler in a thread of the worker (``worker -B``). Owns that thread; beat itself knows nothing of it."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.errors import ConfigError, TopologyError
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.app.app import Amqtask
    from amqtask.beat.pulse import Pulse
    from amqtask.beat.service import Beat
    from amqtask.worker.background import BackgroundThread
    from amqtask.worker.engine import Engine

logger = logging.getLogger("amqtask.beat")

_AGAIN = 10.0
"""Seconds after which a scheduler that has failed begins again."""
_POLL, _LOOKS = 0.05, 30
"""Seconds between looks at whether it has ended, and how many there are before the worker ends without."""
_COMES_UP = 30.0
"""Seconds until a scheduler exists: it reads the periodic tasks, and calls receivers of signals."""


class EmbeddedBeat(Step):
    """Ends with the worker's process, whatever way that ends. Any number of workers may have one: one of them leads."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        self._stop = threading.Event()
        self._background = worker.pool.background
        self._thread: BackgroundThread | None = None
        self._beat: Beat | None = None
        self._begun = 0.0
        """When the scheduler of now was begun."""
        self._failure = ""
        """Why there is none for a moment."""

    @classmethod
    def wanted(cls, worker: Engine) -> bool:  # noqa: D102 -- as Step says
        return worker.options.beat

    def start(self) -> None:  # noqa: D102
        # workers without -B do without; not in the thread, in whose midst a child may be forked
        from amqtask.beat.embedded import run_beat  # noqa: PLC0415

        self._begun = clock.monotonic()
        self._thread = self._background.start(partial(self._run, run_beat), "amqtask-beat")

    def problem(self) -> str:  # noqa: D102
        thread, beat = self._thread, self._beat
        if thread is None or self._stop.is_set():
            return ""
        if not thread.is_alive():
            found = "its thread has ended"
        elif beat is not None:
            found = beat.proof.problem()
        else:
            late = clock.monotonic() - self._begun > _COMES_UP
            found = self._failure or (f"it does not come up within {_COMES_UP:.0f} s" if late else "")
        return found and f"the scheduler (-B): {found}"

    def figures(self) -> tuple[Pulse, int] | None:
        """What metrics tell of it; from any thread. None while there is none."""
        beat = self._beat
        return None if beat is None else (beat.pulse, len(beat.entries))

    def stopping(self) -> None:  # noqa: D102
        self._background.tell(self._end)

    def stop(self, done: Callable[[], None]) -> None:  # noqa: D102
        left = [_LOOKS]

        def look() -> None:
            left[0] -= 1
            alive, beat = self._thread is not None and self._thread.is_alive(), self._beat
            if alive and left[0] and not (beat is not None and beat.proof.problem()):
                self.worker.loop.call_later(_POLL, look)
            else:
                done()

        look()

    def _end(self) -> None:
        self._stop.set()
        if self._beat is not None:
            self._beat.stop()

    def _made(self, beat: Beat) -> None:
        self._beat = beat
        if self._stop.is_set():
            beat.stop()

    def _run(self, run_beat: Callable[[Amqtask, Callable[[Beat], None]], None]) -> None:
        while not self._stop.is_set():
            self._begun, self._failure = clock.monotonic(), ""
            try:
                run_beat(self.worker.app, self._made)
            except (ConfigError, TopologyError) as error:  # at the start: not what was asked for
                self.worker.call_soon(partial(self.worker.fail, error))
                return
            except (Exception, SystemExit) as error:  # the latter from code of a periodic task
                self._failure = f"it has failed: {error!r}"
                self._beat = None
                logger.critical("The scheduler has failed; it begins again in %.0f s", _AGAIN, exc_info=True)
                self._stop.wait(_AGAIN)


STEP = EmbeddedBeat
