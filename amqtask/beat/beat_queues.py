"""The queues that a scheduler needs: the log's, and those of its tasks. Owns seeing that they are there, and right.

Where it may declare, the broker refuses a log's queue that differs. Where it may not (``topology_mode`` verify or
none), AMQP tells nothing of a queue's arguments; but a classic queue with a single active consumer never accepts an
exclusive consumer, and one without does while it has no other. Without it two schedulers would share the log, and lead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.broker.codes import ACCESS_REFUSED
from amqtask.broker.declare import declare_steps, verify_steps
from amqtask.errors import TopologyError
from amqtask.schedules.records import log_queue
from amqtask.topology.delays import exit_step
from amqtask.topology.layout import topology_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.app.app import Amqtask
    from amqtask.broker.declare import DeclareDone
    from amqtask.broker.interface import Channel, Connection, Loop
    from amqtask.errors import AmqtaskError
    from amqtask.topology.declarations import Step

_TIMES, _PAUSE = 3, 0.2
"""How often an exclusive consumer is asked for, and the seconds between."""


class BeatQueues:
    """See the module.

    Args:
        app: its topology and ``topology_mode``.
        queue: of the log.
        loop: of the scheduler.
    """

    def __init__(self, app: Amqtask, queue: str, loop: Loop) -> None:
        self._app, self._queue, self._loop, self._mode = app, queue, loop, app.settings.topology_mode

    def prepare(self, connection: Connection, targets: Sequence[str], done: DeclareDone) -> None:
        """See to everything before the log is consumed.

        Args:
            connection: an open one.
            targets: the queues of tasks.
            done: gets None, or why it can't be: a TopologyError, a BrokerError.
        """
        if self._mode == "declare":
            declare_steps(connection, (log_queue(self._queue), *self._steps(connection, targets)), done)
            return

        def looked(error: AmqtaskError | None) -> None:
            if error is None:
                _Probe(connection, self._queue, self._loop, done).begin()
            else:
                done(error)

        verify_steps(connection, self._steps(connection, targets), looked)

    def see(self, connection: Connection, targets: Sequence[str], done: DeclareDone) -> None:
        """See to queues of tasks alone; arguments as of :meth:`prepare`."""
        run = declare_steps if self._mode == "declare" else verify_steps
        run(connection, self._steps(connection, targets), done)

    def see_exit(self, connection: Connection, queue: str, done: DeclareDone) -> None:
        """See to what keeps messages for a queue until it has room; arguments as of :meth:`prepare`."""
        run = declare_steps if self._mode == "declare" else verify_steps
        run(connection, [exit_step(queue)], done)

    def _steps(self, connection: Connection, targets: Sequence[str]) -> Sequence[Step]:
        return () if self._mode == "none" else topology_steps(self._app.topology, connection.version, targets)


class _Probe:
    """Asks for an exclusive consumer, which a log's queue must refuse; needs no right but to read.

    It asks several times: any queue refuses while another scheduler is just asking the same, which ends with an error.
    """

    def __init__(self, connection: Connection, queue: str, loop: Loop, done: DeclareDone) -> None:
        self._connection, self._queue, self._loop, self._done = connection, queue, loop, done
        self._channel: Channel | None = None
        self._accepted, self._refusals = False, 0

    def begin(self) -> None:
        self._connection.open_channel(self._opened, self._closed)

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.basic_qos(prefetch_count=1)  # what is delivered goes back when the channel closes
        channel.basic_consume(self._queue, _left, exclusive=True, callback=self._consumes)

    def _consumes(self, _reply: Any) -> None:
        assert self._channel is not None
        self._accepted = True
        self._channel.close()

    def _closed(self, code: int, text: str) -> None:
        del text
        self._refusals += 1
        if code == ACCESS_REFUSED and self._refusals < _TIMES:
            self._loop.call_later(_PAUSE, self.begin)
            return
        wrong = TopologyError(
            f"queue {self._queue} must be a classic queue with x-single-active-consumer, or several schedulers would "
            "lead at once; delete it and declare it so, or let the scheduler do it (topology_mode 'declare')"
        )
        self._done(wrong if self._accepted else None)  # what else is wrong, the log's consumer tells


def _left(*_delivery: Any) -> None:
    """Nobody has asked for it yet."""
