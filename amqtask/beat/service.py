"""The scheduler as it runs: connection, channel, clock and the protocol of :mod:`.leader`, on one loop of its own.

Owns the wiring and the loop's life. Start as many as you like: one leads, the others wait for it to end.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask import clock, signals
from amqtask.app.checking import check_settings
from amqtask.beat.beat_queues import BeatQueues
from amqtask.beat.due_events import DueEvents
from amqtask.beat.effects import NotYet
from amqtask.beat.follower import PATIENCE, Follower
from amqtask.beat.full_queues import FullQueues
from amqtask.beat.leader import Leader
from amqtask.beat.log_channel import LogChannel
from amqtask.beat.mailbox import Mailbox
from amqtask.beat.occurrences import Occurrences, targets
from amqtask.beat.planning import lateness
from amqtask.beat.pulse import Proof, Pulse
from amqtask.beat.state_file import StateFile
from amqtask.broker.codes import ACCESS_REFUSED
from amqtask.broker.faults import is_gone
from amqtask.broker.link import Link
from amqtask.broker.pika_driver import new_loop
from amqtask.config.zones import home_zone
from amqtask.control.client import names_of
from amqtask.errors import AccessRefused, BrokerUnavailable, ConfigError, DevBrokerGone, MessageTooLarge, TopologyError
from amqtask.schedules.records import HEADER, log_name, record_message
from amqtask.schedules.trust import LogTrust, left_out
from amqtask.wire.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from amqtask.app.app import Amqtask
    from amqtask.broker.declare import DeclareDone
    from amqtask.broker.interface import Connection
    from amqtask.errors import AmqtaskError, BrokerError
    from amqtask.schedules.entry import Entry
    from amqtask.wire.message import Outgoing, PropertiesLike

logger = logging.getLogger("amqtask.beat")

LONGEST_SLEEP = 1.0
"""Seconds between two looks at the clock, which may be set, or have stood still with the machine."""
HEARTBEAT = 10
"""Seconds, unless less is set: a leader that is frozen keeps its place for two to three of them."""
_CLOCK_SET = 2.0
"""Seconds by which wall clock and elapsed time may differ between two looks before it counts as set."""
_AGAIN = 1.0
"""Seconds before the channel is opened again."""
_SOON = 0.1
"""The same for the one that has led."""
_DECLARE_AGAIN = 10.0
"""Seconds before a queue that could not be declared is tried again."""
_UNNAMED = frozenset({"amqtask", "celery"})
"""What apps are called that were given no name."""


class Beat:
    """A scheduler.

    Args:
        app: its periodic tasks; they are read here.
        on_ready: called on the loop's thread once it waits for its turn, at first and after each reconnect.
        answers: it can be pinged by remote control; a worker that it is a part of answers for itself.

    Raises:
        ConfigError: a periodic task is wrong.
    """

    def __init__(self, app: Amqtask, on_ready: Callable[[], None] | None = None, *, answers: bool = True) -> None:
        self._app, self._on_ready = app, on_ready
        settings = app.settings
        if settings.beat_scheduler != "token":
            raise ConfigError(
                f"setting beat_scheduler: there is no scheduler {settings.beat_scheduler!r}; leave it out, or write "
                "token: the broker keeps the state; beat_schedule_store is for entries in a table"
            )
        self.queue = log_name(settings.beat_queue, app.main)
        self.entries = app.periodic_tasks()
        self._occurrences = Occurrences(app, self.queue)
        self._targets = self._occurrences.check(self.entries.values(), clock.utcnow())
        self._longest = min(settings.beat_max_loop_interval or LONGEST_SLEEP, LONGEST_SLEEP)
        self._loop = new_loop()
        self._queues = BeatQueues(app, self.queue, self._loop)
        usual = app.connection_options
        shorter = min(usual.heartbeat, HEARTBEAT) if usual.heartbeat else 0
        self._options = replace(usual, name=f"{app.main} (beat)", heartbeat=shorter)
        strategy = settings.broker_failover_strategy
        self._link = Link(
            self._loop, app.broker_urls, self._options, on_up=self._connected, on_down=self._down, strategy=strategy
        )
        patience = 0.0 if settings.beat_schedule_store is None else PATIENCE
        self.leader = Leader(self.queue, app.main, self.entries, home_zone(settings.timezone), self, _now, patience)
        self._follower = Follower(app, self.leader, self._occurrences, self._loop.call_soon_threadsafe)
        filename = settings.beat_schedule_filename
        self._file = None if filename is None else StateFile(filename)
        if self._file is not None:
            self.leader.state = self._file.load()
        self._events = DueEvents(app, self._loop, self._options)
        self.pulse = Pulse()
        """What health checks and metrics look at."""
        self.proof = Proof(self.pulse, self.call_soon)
        self._channel: LogChannel | None = None
        self._mailbox: Mailbox | None = None
        if answers and settings.beat_enable_remote_control:
            node = f"beat@{socket.gethostname()}"
            self._mailbox = Mailbox(self._loop, node, names_of(settings), settings.accept_content, Signer(settings))
        self._timer: object = None
        self._was_ready = False
        self._full = FullQueues(self._loop, self._channel_now, self._see_exit)
        self._missing: set[str] = set()
        self._declaring = False
        self._trust = LogTrust(settings)
        if self._trust.lacks_key:
            raise ConfigError("message_signing_required is set: a scheduler needs a message_signing_key, to sign tasks")
        self._clocks = (clock.wall(), clock.monotonic())
        self.failure: Exception | None = None

    def run(self) -> None:
        """Run on this thread until :meth:`stop`.

        Raises:
            ConfigError, TopologyError, BrokerError: why it can't.
        """
        self._link.start()
        self._follower.start()
        try:
            self._loop.run()
        except BaseException:  # nobody serves the connection any more: another one must not wait for its heartbeats
            self._follower.stop()
            self._events.release()
            self._link.release()
            raise
        finally:
            self._loop.close()
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """End; from any thread, and from signal handlers. The next one leads within milliseconds."""
        self._loop.call_soon_threadsafe(self._stop)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Have the loop call back; from any thread. One that hangs, or has ended, does not."""
        self._loop.call_soon_threadsafe(callback)

    def _stop(self) -> None:
        self._loop.cancel(self._timer)
        self._follower.stop()
        if self._file is not None and self.leader.phase == "leading":
            self._file.save(self.leader.state.plain())
        self.leader.lost()
        self._link.stop(lambda: self._events.stop(self._loop.stop))

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self._stop()

    # -- connection and channel

    def _connected(self, connection: Connection) -> None:
        if self._mailbox is not None:
            self._mailbox.connected(connection)
        self._up(connection)

    def _up(self, connection: Connection) -> None:
        def prepared(error: Exception | None) -> None:
            if connection is not self._link.connection:
                return
            if error is None:
                self._open(connection)
            elif isinstance(error, TopologyError | AccessRefused) and not self._was_ready:
                self._fail(error)
            else:
                logger.error("Can't begin yet: %s", error)
                self._loop.call_later(_AGAIN, partial(self._again, connection))

        self._queues.prepare(connection, self._targets, prepared)

    def _again(self, connection: Connection) -> None:
        if connection is self._link.connection:
            self._up(connection)

    def _open(self, connection: Connection) -> None:
        self._channel = LogChannel(self, self.queue, self._options)
        self._channel.open(connection)

    def _down(self, error: BrokerError) -> None:
        if isinstance(error, DevBrokerGone) or (isinstance(error, AccessRefused) and not self._was_ready):
            self._fail(error)
        elif not self._was_ready:
            logger.warning("Can't begin yet: %s; trying until it works", error)

    def channel_open(self, channel: LogChannel) -> None:
        """See LogChannelOwner; so for the others below."""
        if channel is not self._channel:
            return
        self._was_ready = self.pulse.connected = True
        self.leader.opened()
        if self._on_ready is not None:
            self._on_ready()
        self._tick()

    def channel_delivers(self, channel: LogChannel, tag: int, properties: PropertiesLike, body: bytes) -> None:
        """A message of the log."""
        if channel is not self._channel:
            return
        before = self.leader.phase
        if not self._trust.passes(self.queue, properties, body):
            properties, body = left_out()
        self.leader.delivered(tag, properties, body)
        if before == "leading" or self.leader.phase == "leading":
            self._tick()

    def channel_refused(self, message: Outgoing) -> None:
        """The log has its copy of an occurrence; what is missing is the task's."""
        headers = message.properties.headers or {}
        if HEADER not in headers:
            if message.routing_key == self.queue:  # else it was an answer, and who asked has gone
                logger.error("Queue %s does not take what the scheduler writes; does it have a limit?", self.queue)
                self._restart_channel()
            return
        self._full.refused(message)

    def channel_closed(self, channel: LogChannel, code: int, text: str) -> None:
        """Begin anew, on this connection if it stands."""
        if channel is not self._channel:
            return
        self._channel, self.pulse.connected, self.pulse.leading = None, False, False
        led = self.leader.phase == "leading"
        if led:
            logger.warning("No longer leading: %s", text)
        self.leader.lost()
        if is_gone(code, text) and not self._was_ready:
            self._fail(
                TopologyError(f"there is no queue {self.queue}; with topology_mode 'declare' it is made: {text}")
            )
        elif code == ACCESS_REFUSED and not self._was_ready:
            self._fail(AccessRefused(f"the scheduler can't read its queue {self.queue}: {text}"))
        elif code >= ACCESS_REFUSED and not led:
            logger.error("Can't read the queue %s yet: %s", self.queue, text)
        connection = self._link.connection
        if connection is not None and self.failure is None:
            # if the log was deleted, the one who knows what was in it is to be the first that makes it again
            self._loop.call_later(_SOON if led else _AGAIN, partial(self._again, connection))

    def _channel_now(self) -> LogChannel | None:
        return self._channel

    def _see_exit(self, queue: str, done: DeclareDone) -> None:
        connection = self._link.connection
        if connection is None:
            done(BrokerUnavailable("there is no connection"))
        else:
            self._queues.see_exit(connection, queue, done)

    def _restart_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()

    # -- time

    def _tick(self) -> None:
        self._loop.cancel(self._timer)
        wall, elapsed = clock.wall(), clock.monotonic()
        drift = (wall - self._clocks[0]) - (elapsed - self._clocks[1])
        self._clocks = (wall, elapsed)
        if abs(drift) > _CLOCK_SET and self.leader.phase == "leading":
            logger.warning("The clock was set by %+.0f s, or the machine was suspended", drift)
            self.leader.clock_set()
        wait = self.leader.tick()
        self._follower.tick()
        self.pulse.ticked(elapsed)
        pause = self._longest if wait is None else min(wait, self._longest)
        self._timer = self._loop.call_later(pause, self._tick)

    # -- what the leader has done (BeatEffects)

    def publish(self, message: Outgoing) -> None:
        """See BeatEffects; so for the others below."""
        if self._channel is not None:
            if HEADER not in (message.properties.headers or {}):
                message = self._trust.signed(message)
            self._channel.publish(message)

    def acknowledge(self, tag: int) -> None:
        """A snapshot has it."""
        if self._channel is not None:
            self._channel.acknowledge(tag)

    def send(self, entry: Entry, due: datetime, *, report: bool, asked: str | None) -> str:
        """One occurrence."""
        message = self._occurrences.message(entry, due, report=report, asked=asked)
        if missing := [queue for queue in targets(message) if queue not in self._targets]:
            self._missing.update(missing)
            self._declare()
            raise NotYet
        task_id = str(message.properties.correlation_id)
        self.publish(message)
        late = timedelta(0) if asked else lateness(entry, due, clock.wall())
        self.pulse.sent(late.total_seconds())
        self._events.due(entry, due, task_id, late.total_seconds())
        logger.info(
            "Sent %s (%s), due %s, %.0f ms late", entry.name, task_id, due.isoformat(), late.total_seconds() * 1000
        )
        return task_id

    def _declare(self) -> None:
        """See that queues are there: the broker drops what it has no queue for, and keeps the copy."""
        connection = self._link.connection
        if self._declaring or connection is None:
            return
        self._declaring, queues = True, [*self._targets, *self._missing]

        def done(error: AmqtaskError | None) -> None:
            if error is None:
                self._targets = queues
            elif not isinstance(error, BrokerUnavailable):  # with the next connection they are seen to anyway
                logger.error("Not all of the queues %s of periodic tasks are there: %s", ", ".join(queues), error)
                self._loop.call_later(_DECLARE_AGAIN, self._declared)
                return
            self._declared()

        self._queues.see(connection, queues, done)

    def _declared(self) -> None:
        waiting, self._missing, self._declaring = bool(self._missing), set(), False
        if waiting and self.leader.phase == "leading":
            self.leader.rewind()
            self._tick()

    def cancel(self, task_id: str) -> None:
        """Revoke, in a thread of its own: that may wait for the broker."""
        revoke = self._app.control.revoke
        threading.Thread(
            target=lambda: revoke(task_id, terminate=True), name="amqtask-beat-revoke", daemon=True
        ).start()

    def answer(self, reply_to: str, data: Mapping[str, Any]) -> None:
        """To the one who asks."""
        try:
            self.publish(record_message(reply_to, "snapshot", data))
        except MessageTooLarge as error:
            logger.error("Can't say which periodic tasks there are: %s", error)  # noqa: TRY400

    def written(self, data: Mapping[str, object]) -> None:
        """A snapshot."""
        if self._file is not None:
            self._file.save(data)
        self._declare()  # one may have been deleted

    def leading(self) -> None:
        """It is this one."""
        self.pulse.leading = True
        self._follower.leading()
        known = len(self.leader.entries)
        logger.info("Leading (pid %d): %d periodic task%s", os.getpid(), known, "" if known == 1 else "s")


def _now() -> float:
    return clock.wall()


def start_beat(app: Amqtask, on_ready: Callable[[], None] | None = None, *, embedded: bool = False) -> Beat:
    """A scheduler, ready to :meth:`Beat.run`; who is connected to its signals has been told.

    Args:
        app: its periodic tasks; the modules are imported.
        on_ready: called once it waits for its turn.
        embedded: it runs inside a worker.

    Raises:
        ConfigError: a periodic task is wrong, or a setting.
    """
    check_settings(app.settings)
    beat = Beat(app, on_ready, answers=not embedded)
    if beat.entries and app.main in _UNNAMED and app.settings.beat_queue is None:
        logger.warning(
            "The app has no name of its own, so its scheduler shares the queue %s with those of all others on this "
            "vhost that have none, and only the entries of one program are sent; give it a name, or set beat_queue",
            beat.queue,
        )
    signals.beat_init.send(sender=beat)
    if embedded:
        signals.beat_embedded_init.send(sender=beat)
    app.trace()
    return beat
