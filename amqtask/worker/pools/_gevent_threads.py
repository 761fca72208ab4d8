"""Real threads beside gevent's hub, and greenlets that stand for threads. Owns both."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from amqtask import unpatched

if TYPE_CHECKING:
    from collections.abc import Callable


class RealThread:
    """A thread that is one, whatever was patched; with what the worker uses of ``threading.Thread``."""

    def __init__(
        self,
        target: Callable[..., None],
        args: tuple[Any, ...] = (),
        name: str = "",
        daemon: bool = True,  # noqa: ARG002 -- nobody waits for such threads at the end
    ) -> None:
        self._target, self._args, self._name = target, args, name
        self._running = unpatched.new_lock()

    def start(self) -> None:
        """Start it."""
        self._running.acquire()
        unpatched.start_thread(self._run)

    def join(self, timeout: float = -1) -> None:
        """Wait for its end, greenlets of this thread included."""
        self._running.acquire(timeout=timeout)

    def _run(self) -> None:
        try:
            threading.current_thread().name = self._name
            self._target(*self._args)
        finally:
            unpatched.drop_hub()  # before anybody is told of the end
            self._running.release()


class Greenlets:
    """Background code on the hub of the main thread; see :class:`amqtask.worker.background.Background`.

    Args:
        on_hub: has the hub call something, from any thread.
        tell: calls what ends a wait, where that may be done.
    """

    def __init__(
        self, on_hub: Callable[[Callable[[], object]], None], tell: Callable[[Callable[[], object]], None]
    ) -> None:
        self._on_hub, self._tell = on_hub, tell

    def start(self, call: Callable[[], None], name: str) -> _Greenlet:
        """In a greenlet."""
        made = _Greenlet(call, name)
        self._on_hub(made.begin)
        return made

    def bell(self) -> _HubBell:
        """An event of the hub."""
        return _HubBell(self._on_hub)

    def tell(self, call: Callable[[], object]) -> None:
        """On the hub, where waiting is gevent's."""
        self._tell(call)


class _Greenlet:
    def __init__(self, call: Callable[[], None], name: str) -> None:
        self._call, self._name = call, name
        self._ended = unpatched.Bell()
        self._alive = True
        self._greenlet: Any = None

    def begin(self) -> None:
        """On the hub."""
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = self._name

    def is_alive(self) -> bool:
        return self._alive

    def join(self, timeout: float) -> None:
        """On the I/O thread; the hub goes on meanwhile."""
        if self._alive:
            self._ended.wait(timeout)

    def _run(self) -> None:
        try:
            self._call()
        finally:
            self._alive = False
            self._ended.ring()


class _HubBell:
    def __init__(self, on_hub: Callable[[Callable[[], object]], None]) -> None:
        self._on_hub = on_hub
        self._event = Event()

    def ring(self) -> None:
        self._on_hub(self._event.set)

    def wait(self, timeout: float | None = None) -> bool:
        rung = self._event.wait(timeout)
        self._event.clear()
        return bool(rung)
