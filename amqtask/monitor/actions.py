"""What the pages and the JSON API change. Each action is the twin of a command of ``amqtask``. Owns their audit log.

Every action is written to the log ``amqtask.monitor.audit`` with the command that does the same: who, what, and how it
ended. One that was refused is written too.
"""

from __future__ import annotations

import logging
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from amqtask.broker.admin import Admin
from amqtask.errors import AmqtaskError, BrokerUnavailable, TopologyError
from amqtask.topology.queue_names import check_queue_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.control.client import Reply
    from amqtask.monitor.dead import DeadDesk

audit = logging.getLogger("amqtask.monitor.audit")

_TIMEOUT = 3.0
"""Seconds that a worker has to answer."""


class ReadOnly(AmqtaskError):
    """This monitor changes nothing."""


class NotDone(AmqtaskError):
    """A worker, or the broker, has refused."""


class Actions:
    """Everything that can be changed. Thread-safe; every method waits for the broker or the workers: not for a loop.

    Each returns a line that tells what was done, for people. ``who`` is the user's name, or where the request came
    from. Each raises ReadOnly on a monitor that changes nothing, and AmqtaskError when it could not be done.

    Args:
        app: whose tasks, queues and workers.
        desk: of its dead letters.
        changed: called after each action: what was asked before may be true no more.
        away: tells why the broker can't be reached, if that is known: nobody waits then for it to be found out again.
        read_only: refuse everything.
    """

    def __init__(
        self,
        app: Amqtask,
        desk: DeadDesk,
        changed: Callable[[], None],
        away: Callable[[], str | None] = lambda: None,
        *,
        read_only: bool = False,
    ) -> None:
        self._app, self._desk, self._changed, self._away = app, desk, changed, away
        self.read_only = read_only

    # -- tasks --------------------------------------------------------------------------------------------------------

    def revoke(self, who: str, task_id: str, *, terminate: bool = False, signal: str = "SIGTERM") -> str:
        """``amqtask control revoke``."""

        def work() -> str:
            self._app.control.revoke(task_id, terminate=terminate, signal=signal)
            return f"{task_id} is revoked{', and stopped if it runs' if terminate else ''}"

        more = ["terminate=true", f"signal={signal}"] if terminate else []
        return self._do(who, ["control", "revoke", task_id, *more], work)

    def rate_limit(self, who: str, task: str, rate: str, worker: str | None = None) -> str:
        """``amqtask control rate_limit``; without worker: all."""
        return self._tell(who, worker, "rate_limit", {"task_name": task, "rate_limit": rate})

    def time_limit(self, who: str, task: str, soft: float | None, hard: float | None, worker: str | None = None) -> str:
        """``amqtask control time_limit``; without worker: all."""
        return self._tell(who, worker, "time_limit", {"task_name": task, "soft": soft, "hard": hard})

    def send(self, who: str, name: str, send: Callable[[], Any]) -> Any:
        """``amqtask call``: has ``send`` send a task of this name, and returns its result's handle."""
        sent: list[Any] = []

        def work() -> str:
            sent.append(send())
            return f"sent as {sent[0].id}"

        self._do(who, ["call", name], work)
        return sent[0]

    # -- dead letters and queues --------------------------------------------------------------------------------------

    def dead_retry(self, who: str, queue: str, ids: Sequence[str] = ()) -> str:
        """``amqtask dead retry``; without ids: all."""

        def work() -> str:
            return _moved(self._desk.retry(queue, ids), ids, f"put back into {queue}")

        return self._do(who, ["dead", "retry", queue, *ids], work)

    def dead_drop(self, who: str, queue: str, ids: Sequence[str] = ()) -> str:
        """``amqtask dead drop``; without ids: all."""

        def work() -> str:
            return _moved(self._desk.drop(queue, ids), ids, f"dropped from the dead letters of {queue}")

        return self._do(who, ["dead", "drop", "--force", queue, *ids], work)

    def queue_pause(self, who: str, queue: str) -> str:
        """``amqtask queue pause``."""

        def work() -> str:
            check_queue_name(self._app.topology, queue)
            self._app.control.pause(queue)
            return f"{queue} is paused"

        return self._do(who, ["queue", "pause", queue], work)

    def queue_resume(self, who: str, queue: str) -> str:
        """``amqtask queue resume``."""

        def work() -> str:
            check_queue_name(self._app.topology, queue)
            self._app.control.resume(queue)
            return f"{queue} is no longer paused"

        return self._do(who, ["queue", "resume", queue], work)

    def queue_purge(self, who: str, queue: str) -> str:
        """``amqtask purge``."""

        def work() -> str:
            check_queue_name(self._app.topology, queue)
            with Admin(self._app.broker_urls, replace(self._app.connection_options, name="amqtask monitor")) as admin:
                if admin.queue_state(queue) is None:
                    raise TopologyError(f"queue {queue!r} does not exist on the broker")
                return f"{_count(admin.purge(queue))} purged from {queue}"

        return self._do(who, ["purge", "--force", queue], work)

    # -- workers ------------------------------------------------------------------------------------------------------

    def worker_shutdown(self, who: str, worker: str) -> str:
        """``amqtask control shutdown``."""

        def work() -> str:
            heard = self._app.control.ping([worker], timeout=_TIMEOUT)
            self._app.control.shutdown([worker])
            if not heard:
                raise BrokerUnavailable(f"{worker} does not answer; it ends if it hears of this later")
            return f"{worker} was asked to end once its tasks have"

        return self._do(who, ["control", "shutdown", "-d", worker], work)

    def pool_grow(self, who: str, worker: str, n: int = 1) -> str:
        """``amqtask control pool_grow``."""
        return self._tell(who, worker, "pool_grow", {"n": n})

    def pool_shrink(self, who: str, worker: str, n: int = 1) -> str:
        """``amqtask control pool_shrink``."""
        return self._tell(who, worker, "pool_shrink", {"n": n})

    def pool_restart(self, who: str, worker: str) -> str:
        """``amqtask control pool_restart``."""
        return self._tell(who, worker, "pool_restart", {})

    def autoscale(self, who: str, worker: str, minimum: int, maximum: int) -> str:
        """``amqtask control autoscale``."""
        return self._tell(who, worker, "autoscale", {"max": maximum, "min": minimum})

    def add_consumer(self, who: str, worker: str, queue: str) -> str:
        """``amqtask control add_consumer``."""
        return self._tell(who, worker, "add_consumer", {"queue": queue})

    def cancel_consumer(self, who: str, worker: str, queue: str) -> str:
        """``amqtask control cancel_consumer``."""
        return self._tell(who, worker, "cancel_consumer", {"queue": queue})

    # -- periodic tasks -----------------------------------------------------------------------------------------------

    def schedule_pause(self, who: str, name: str) -> str:
        """``amqtask schedule pause``."""
        return self._schedule(who, "pause", name, self._app.schedules.pause, "paused")

    def schedule_resume(self, who: str, name: str) -> str:
        """``amqtask schedule resume``."""
        return self._schedule(who, "resume", name, self._app.schedules.resume, "resumed")

    def schedule_run(self, who: str, name: str) -> str:
        """``amqtask schedule run-now``."""
        return self._schedule(who, "run-now", name, self._app.schedules.run_now, "is to run")

    # -- inside

    def _schedule(self, who: str, word: str, name: str, change: Callable[[str], None], done: str) -> str:
        def work() -> str:
            change(name)
            return f"{name} {done}"

        return self._do(who, ["schedule", word, name], work)

    def _tell(self, who: str, worker: str | None, command: str, arguments: dict[str, Any]) -> str:
        """Send a command to one worker, or to all, and say what they have answered."""

        def work() -> str:
            destination = None if worker is None else [worker]
            replies = self._app.control.broadcast(command, arguments, destination, reply=True, timeout=_TIMEOUT)
            return _answered(replies or [], worker)

        words = [f"{name}={value}" for name, value in arguments.items() if value is not None]
        where = [] if worker is None else ["-d", worker]
        return self._do(who, ["control", command, *words, *where], work)

    def _do(self, who: str, twin: Sequence[str], work: Callable[[], str]) -> str:
        command = _plain(shlex.join(["amqtask", *twin]))
        try:
            self._check()
            done = work()
        except Exception as error:
            audit.warning("%s: %s: not done: %s", _plain(who), command, _plain(str(error) or repr(error)))
            raise
        finally:
            self._changed()
        audit.info("%s: %s: %s", _plain(who), command, _plain(done))
        return done

    def _check(self) -> None:
        if self.read_only:
            raise ReadOnly("this monitor is read-only")
        if (reason := self._away()) is not None:
            raise BrokerUnavailable(f"the broker is away: {reason}")


def _answered(replies: Sequence[Reply], worker: str | None) -> str:
    answers = [(node, value) for reply in replies for node, value in reply.items()]
    if not answers:
        raise BrokerUnavailable(f"{worker or 'no worker'} {'does not answer' if worker else 'answers'}")
    refused = [(node, value["error"]) for node, value in answers if isinstance(value, dict) and "error" in value]
    if refused:
        raise NotDone("; ".join(f"{node}: {text}" for node, text in refused))
    return "; ".join(
        f"{node}: {value.get('ok', value) if isinstance(value, dict) else value}" for node, value in answers
    )


def _moved(done: Sequence[str], ids: Sequence[str], what: str) -> str:
    if missing := [one for one in ids if one not in done]:
        raise NotDone(f"{_count(len(done))} {what}; not there any more: {', '.join(missing)}")
    return f"{_count(len(done))} {what}"


def _count(number: int) -> str:
    return f"{number} message{'' if number == 1 else 's'}"


def _plain(text: str) -> str:
    """One line of a log, whatever somebody has put into a name."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
