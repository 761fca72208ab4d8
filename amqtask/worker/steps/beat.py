"""Runs the scheduler in a thread of the worker (``worker -B``). Owns that thread; beat itself knows nothing of it."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from amqtask.errors import ConfigError, TopologyError
from amqtask.worker.errands import errands_of
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.app.app import Amqtask
    from amqtask.worker.engine import Engine
    from amqtask.worker.errands import Errand

logger = logging.getLogger("amqtask.beat")

_AGAIN = 10.0
"""Seconds after which a scheduler that has failed begins again."""
_POLL, _LOOKS = 0.05, 30
"""Seconds between looks at whether it has ended, and how many there are before the worker ends without."""


class EmbeddedBeat(Step):
    """Ends with the worker's process, whatever way that ends. Any number of workers may have one: one of them leads."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        self._stop = threading.Event()
        self._errands = errands_of(worker.pool)
        self._thread: Errand | None = None

    @classmethod
    def wanted(cls, worker: Engine) -> bool:  # noqa: D102 -- as Step says
        return worker.options.beat

    def start(self) -> None:  # noqa: D102
        # workers without -B do without; not in the thread, in whose midst a child may be forked
        from amqtask.beat.embedded import run_beat  # noqa: PLC0415

        self._thread = self._errands.start(partial(self._run, run_beat), "amqtask-beat")

    def stopping(self) -> None:  # noqa: D102
        self._errands.tell(self._stop.set)

    def stop(self, done: Callable[[], None]) -> None:  # noqa: D102
        left = [_LOOKS]

        def look() -> None:
            left[0] -= 1
            if self._thread is not None and self._thread.is_alive() and left[0]:
                self.worker.loop.call_later(_POLL, look)
            else:
                done()

        look()

    def _run(self, run_beat: Callable[[Amqtask, threading.Event], None]) -> None:
        while not self._stop.is_set():
            try:
                run_beat(self.worker.app, self._stop)
            except (ConfigError, TopologyError) as error:  # at the start: not what was asked for
                self.worker.call_soon(partial(self.worker.fail, error))
                return
            except Exception:
                logger.critical("The scheduler has failed; it begins again in %.0f s", _AGAIN, exc_info=True)
                self._stop.wait(_AGAIN)


STEP = EmbeddedBeat
