"""``app.control``: steering workers from a program, with Celery's names and values. Owns the methods.

What changes workers is sent to all of them, or to the nodes of ``destination``; nobody waits, unless ``reply=True``
asks for answers. Revocations and pauses are kept by the broker as well, so that they hold for workers that start later.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from amqtask import clock
from amqtask.broker.interface import Reachable
from amqtask.control import pauses, tombstones
from amqtask.control.asking import answers
from amqtask.control.inspection import Inspect
from amqtask.control.messages import Names, Request, request_message
from amqtask.errors import Unroutable
from amqtask.wire.lamport import LamportClock
from amqtask.wire.signing import REQUEST, TOMBSTONE, Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from amqtask.broker.interface import Layout, Transport
    from amqtask.config.settings import Settings
    from amqtask.topology.model import Topology
    from amqtask.wire.message import Outgoing

    Reply = dict[str, Any]

TIMEOUT = 1.0
"""Seconds that answers are waited for."""


class ControlApp(Reachable, Protocol):
    """What is asked of the app."""

    @property
    def settings(self) -> Settings: ...  # noqa: D102
    @property
    def transport(self) -> Transport: ...  # noqa: D102
    @property
    def topology(self) -> Topology: ...  # noqa: D102


def names_of(settings: Settings) -> Names:
    """The names on the broker, as the settings have them."""
    return Names(settings.control_exchange, settings.control_queue_ttl, settings.control_queue_expires)


class Control:
    """Remote control of an app's workers. Thread-safe.

    Methods without an answer return None. With ``reply=True`` they wait ``timeout`` seconds (1 unless given), or until
    as many nodes have answered as ``destination`` or ``limit`` say, and return a list of ``{node: value}``.

    Args:
        app: whose workers are meant.
    """

    def __init__(self, app: ControlApp) -> None:
        self._app = app
        self._names = names_of(app.settings)
        self._clock = LamportClock()
        self._signer = Signer(app.settings)
        self._declared: set[str] = set()

    # -- asking ---------------------------------------------------------------------------------------------------

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Sequence[str] | str | None = None,
        connection: object = None,  # noqa: ARG002 -- Celery's; there is one of its own
        reply: bool = False,
        timeout: float | None = TIMEOUT,
        limit: int | None = None,
        callback: Callable[[Reply], object] | None = None,
        channel: object = None,  # noqa: ARG002 -- Celery's
        pattern: str | None = None,
        matcher: str | None = None,
        **more: Any,
    ) -> list[Reply] | None:
        """Send any command.

        Args:
            command: its name.
            arguments: of it.
            destination: names of nodes; None: all.
            connection: Celery's; without effect, as ``channel``.
            reply: wait for answers.
            timeout: seconds to wait.
            limit: answers after which to return.
            callback: called with each answer as it comes.
            channel: Celery's.
            pattern: of the names of nodes.
            matcher: what the pattern is: ``glob`` or ``pcre``.
            more: further arguments of the command.

        Raises:
            BrokerError: the broker can't be reached, or does not let us ask.
        """
        request = self._request(command, {**(arguments or {}), **more}, destination, pattern, matcher)
        if not reply:
            self._cast(request)
            return None
        found = []
        for answer in self._answers(request, timeout, limit):
            found.append(answer)
            if callback is not None:
                callback(answer)
        return found

    def stream(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Sequence[str] | None = None,
        timeout: float = TIMEOUT,
    ) -> Iterator[Reply]:
        """Send a command and yield each answer as it comes; see :meth:`broadcast`."""
        return self._answers(self._request(command, arguments or {}, destination), timeout, None)

    @property
    def inspect(self) -> Callable[..., Inspect]:
        """``app.control.inspect(destination=None, timeout=1.0)``: questions; see :class:`Inspect`."""
        return partial(Inspect, self)

    def ping(
        self, destination: Sequence[str] | None = None, timeout: float = TIMEOUT, **options: Any
    ) -> list[dict[str, Reply]]:
        """Who is there: ``[{node: {"ok": "pong"}}]``."""
        options = {**options, "reply": True, "timeout": timeout}
        return cast("list[Reply]", self.broadcast("ping", destination=destination, **options))

    # -- tasks ----------------------------------------------------------------------------------------------------

    def revoke(
        self,
        task_id: str | Iterable[str],
        destination: Sequence[str] | None = None,
        terminate: bool = False,
        signal: str = "SIGTERM",
        **options: Any,
    ) -> list[Reply] | None:
        """Have tasks not run: their result is REVOKED. Kept by the broker for ``revoke_expires``.

        Args:
            task_id: of a task, or several.
            destination: workers to tell; the others learn of it all the same.
            terminate: stop those that run.
            signal: that a child gets then.
            options: as of :meth:`broadcast`.
        """
        ids = [task_id] if isinstance(task_id, str) else [str(one) for one in task_id]
        self.keep_revoked(ids)
        given = task_id if isinstance(task_id, str) else ids
        arguments = {"task_id": given, "terminate": terminate, "signal": signal, "kept": True}
        return self.broadcast("revoke", arguments, destination, **options)

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        destination: Sequence[str] | None = None,
        terminate: bool = False,
        signal: str = "SIGTERM",
        **options: Any,
    ) -> list[Reply] | None:
        """The same for tasks that carry one of these stamps: name -> value, or a list of values."""
        stamps = {name: tombstones.stamp_values(values) for name, values in headers.items()}
        self.keep_stamps_revoked(stamps)
        plain = {name: list(values) for name, values in stamps.items()}
        arguments = {"headers": plain, "terminate": terminate, "signal": signal, "kept": True}
        return self.broadcast("revoke_by_stamped_headers", arguments, destination, **options)

    def keep_revoked(self, ids: Sequence[str]) -> None:
        """Have the broker keep that tasks are revoked, and tell no worker that runs.

        Args:
            ids: of the tasks.

        Raises:
            BrokerError: it is not kept.
        """
        for tombstone in tombstones.tombstones(ids, self._app.settings.revoke_expires):
            self._keep(tombstones.message(tombstone))

    def keep_stamps_revoked(self, stamps: Mapping[str, tuple[str, ...]]) -> None:
        """The same for tasks that carry one of these stamps."""
        until = clock.wall() + self._app.settings.revoke_expires
        self._keep(tombstones.message(tombstones.Tombstone(until, stamps=stamps)))

    def terminate(
        self,
        task_id: str | Iterable[str],
        destination: Sequence[str] | None = None,
        signal: str = "SIGTERM",
        **options: Any,
    ) -> list[Reply] | None:
        """:meth:`revoke` that also stops tasks which run."""
        return self.revoke(task_id, destination, terminate=True, signal=signal, **options)

    def rate_limit(
        self, task_name: str, rate_limit: str | float, destination: Sequence[str] | None = None, **options: Any
    ) -> list[Reply] | None:
        """Change a task's rate limit: ``"10/m"``, or 0 for none; ``scope="global"`` for all workers together."""
        scope = {"scope": options.pop("scope")} if "scope" in options else {}
        arguments = {"task_name": task_name, "rate_limit": rate_limit, **scope}
        return self.broadcast("rate_limit", arguments, destination, **options)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Sequence[str] | None = None,
        **options: Any,
    ) -> list[Reply] | None:
        """Change a task's time limits, in seconds, for what starts from now on."""
        arguments = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments, destination, **options)

    # -- queues ---------------------------------------------------------------------------------------------------

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: Mapping[str, Any] | None = None,
        destination: Sequence[str] | None = None,
        **more: Any,
    ) -> list[Reply] | None:
        """Have workers consume another queue."""
        where = {"exchange": exchange, "exchange_type": exchange_type, "routing_key": routing_key}
        return self.broadcast("add_consumer", {"queue": queue, **where, **(options or {})}, destination, **more)

    def cancel_consumer(
        self, queue: str, destination: Sequence[str] | None = None, **options: Any
    ) -> list[Reply] | None:
        """Have workers no longer consume a queue."""
        return self.broadcast("cancel_consumer", {"queue": queue}, destination, **options)

    def pause(self, queue: str, **options: Any) -> list[Reply] | None:
        """No worker starts anything of this queue, those that start later included, until :meth:`resume`."""
        pauses.pause(self._app, queue)
        return self.broadcast("pause", {"queue": queue}, **options)

    def resume(self, queue: str, **options: Any) -> list[Reply] | None:
        """Undo :meth:`pause`."""
        pauses.resume(self._app, queue)
        return self.broadcast("resume", {"queue": queue}, **options)

    def purge(self, connection: object = None) -> int:  # noqa: ARG002 -- Celery's
        """Throw away what waits in the queues of the topology; returns how many messages."""
        with pauses.admin(self._app) as admin:
            known = [name for name in self._app.topology.queues if admin.queue_state(name) is not None]
            return sum(admin.purge(name) for name in known)

    discard_all = purge

    # -- workers --------------------------------------------------------------------------------------------------

    def pool_grow(self, n: int = 1, destination: Sequence[str] | None = None, **options: Any) -> list[Reply] | None:
        """More slots."""
        return self.broadcast("pool_grow", {"n": n}, destination, **options)

    def pool_shrink(self, n: int = 1, destination: Sequence[str] | None = None, **options: Any) -> list[Reply] | None:
        """Fewer slots; running tasks are not disturbed."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **options)

    def autoscale(
        self,
        max: int,  # noqa: A002 -- Celery's
        min: int,  # noqa: A002 -- Celery's
        destination: Sequence[str] | None = None,
        **options: Any,
    ) -> list[Reply] | None:
        """Change the bounds of workers that were started with ``--autoscale``."""
        return self.broadcast("autoscale", {"max": max, "min": min}, destination, **options)

    def pool_restart(
        self,
        modules: Sequence[str] | None = None,
        reload: bool = False,
        reloader: object = None,  # noqa: ARG002 -- Celery's; can't be sent
        destination: Sequence[str] | None = None,
        **options: Any,
    ) -> list[Reply] | None:
        """Have workers replace themselves by fresh processes, which import everything anew, without a gap."""
        arguments = {"modules": modules, "reload": reload, "reloader": None}
        return self.broadcast("pool_restart", arguments, destination, **options)

    def shutdown(self, destination: Sequence[str] | None = None, **options: Any) -> list[Reply] | None:
        """End workers warm."""
        return self.broadcast("shutdown", {}, destination, **options)

    def enable_events(self, destination: Sequence[str] | None = None, **options: Any) -> list[Reply] | None:
        """Have workers send task events."""
        return self.broadcast("enable_events", {}, destination, **options)

    def disable_events(self, destination: Sequence[str] | None = None, **options: Any) -> list[Reply] | None:
        """Have workers send no task events."""
        return self.broadcast("disable_events", {}, destination, **options)

    def heartbeat(self, destination: Sequence[str] | None = None, **options: Any) -> list[Reply] | None:
        """Have workers send worker-heartbeat now."""
        return self.broadcast("heartbeat", {}, destination, **options)

    def election(self, id: str, topic: str, action: Any = None, connection: object = None) -> None:  # noqa: A002, ARG002
        """Have one worker, whichever, do something: with the topic ``task``, send the signature ``action``."""
        self.broadcast("election", {"id": id, "topic": topic, "action": action})

    # -- steps ----------------------------------------------------------------------------------------------------

    def _request(
        self,
        command: str,
        arguments: Mapping[str, Any],
        destination: Sequence[str] | str | None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> Request:
        nodes = [destination] if isinstance(destination, str) else destination
        return Request(command, arguments, nodes, pattern, matcher, clock=self._clock.tick())

    def _answers(self, request: Request, timeout: float | None, limit: int | None) -> Iterator[Reply]:
        accept = self._app.settings.accept_content
        wait = TIMEOUT if timeout is None else timeout
        return answers(self._app, self._names, request, self._signer, timeout=wait, limit=limit, accept=accept)

    def _cast(self, request: Request) -> None:
        message = self._signer.signed(request_message(self._names, request), REQUEST)
        with suppress(Unroutable):  # no worker listens
            self._send(message, "requests", lambda _: self._names.exchanges())

    def _keep(self, message: Outgoing) -> None:
        expires, message = self._app.settings.revoke_expires, self._signer.signed(message, TOMBSTONE)
        self._send(message, "revoked", lambda version: [tombstones.queue(version, expires)])

    def _send(self, message: Outgoing, what: str, layout: Layout) -> None:
        """Publish, and declare first what this needs; again when somebody has deleted it meanwhile."""
        transport, timeout = self._app.transport, self._app.settings.broker_confirm_timeout
        if what in self._declared:
            try:
                transport.send(message, timeout=timeout)
                return
            except Unroutable:
                if what == "requests":
                    raise
        transport.declare(layout)
        self._declared.add(what)
        transport.send(message, timeout=timeout)
