"""The scheduler inside a worker (``worker -B``). Owns its beginning and its end there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.beat.occurrences import Occurrences
from amqtask.beat.service import start_beat
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.app.app import Amqtask
    from amqtask.beat.service import Beat


def check_beat(app: Amqtask) -> None:
    """See that the scheduler of an app can start, before anything else does.

    Raises:
        ConfigError: periodic tasks are wrong; a line for each.
    """
    wrong = Occurrences(app, "").unsendable(app.periodic_tasks().values(), clock.utcnow())
    if wrong:
        raise ConfigError("\n".join(wrong))


def run_beat(app: Amqtask, made: Callable[[Beat], None]) -> None:
    """Run a scheduler until it is stopped.

    Args:
        app: its periodic tasks; the modules are imported here.
        made: gets the scheduler before it runs.

    Raises:
        ConfigError, TopologyError, BrokerError: why it can't run.
    """
    app.load_tasks()
    beat = start_beat(app, embedded=True)
    made(beat)
    beat.run()
