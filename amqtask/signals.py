"""Signals: what happens in producers, workers and schedulers is told to functions that were connected.

    from amqtask.signals import task_failure

    @task_failure.connect(sender=report)
    def tell(sender, exception, **_): ...

Owns the mechanism and the names, which are Celery's, as are their keyword arguments. Each is sent by the part of
amqtask where the thing happens, in the process where it happens. A receiver should be quick; what it raises is logged
and changes nothing. A signal that nobody is connected to costs next to nothing.
"""

from __future__ import annotations

import logging
import weakref
from inspect import iscoroutinefunction
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from amqtask.unpatched import original

if TYPE_CHECKING:
    from collections.abc import Callable

    Receiver = Callable[..., Any]

F = TypeVar("F", bound="Callable[..., Any]")

logger = logging.getLogger(__name__)


class _Connection(NamedTuple):
    """A receiver and when it is called."""

    identity: Any
    sender: Any
    receiver: Callable[[], Receiver | None]


class Signal:
    """One signal. Thread-safe.

    Args:
        name: as it is imported.
        provides: keyword arguments that receivers get beside ``signal`` and ``sender``.
    """

    def __init__(self, name: str, provides: str = "") -> None:
        self.name, self.providing_args = name, frozenset(provides.split())
        self.receivers: tuple[_Connection, ...] = ()
        """Connections; empty when nobody is connected."""
        self._lock = original("_thread", "RLock")()
        """Reentrant: a garbage collection inside of it may sweep."""

    def connect(
        self,
        receiver: Any = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: str | None = None,
        retry: bool = False,
    ) -> Any:
        """Call ``receiver`` whenever the signal is sent; also a decorator, with or without arguments.

        Args:
            receiver: a plain function; called with ``signal``, ``sender`` and the signal's keyword arguments, and has
                to take more of them (``**kwargs``) than it knows.
            sender: only for this sender: a task or the name of one, the name of a worker; None: for all.
            weak: forget the receiver when nobody else holds it; functions of a module are held anyway.
            dispatch_uid: connecting again with the same one replaces the receiver.
            retry: Celery's; makes no difference.

        Raises:
            TypeError: the receiver can't be called, or is a coroutine function, which nobody would await.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, dispatch_uid, retry)
        if not callable(receiver) or iscoroutinefunction(receiver):
            raise TypeError(f"{self.name}: a receiver is a plain function, not {receiver!r}")
        identity = (dispatch_uid or _identity(receiver), sender)
        held = _weakly(receiver, self._sweep) if weak else lambda: receiver
        with self._lock:
            others = [one for one in self.receivers if one.identity != identity]
            self.receivers = (*others, _Connection(identity, sender, held))
        return receiver

    def disconnect(
        self, receiver: Any = None, sender: Any = None, weak: bool | None = None, dispatch_uid: str | None = None
    ) -> bool:
        """Call a receiver no longer; arguments as given to :meth:`connect`. Returns whether it was connected."""
        del weak
        identity = (dispatch_uid or _identity(receiver), sender)
        with self._lock:
            left = tuple(one for one in self.receivers if one.identity != identity)
            found, self.receivers = len(left) < len(self.receivers), left
        return found

    def has_listeners(self, sender: Any = None) -> bool:
        """Is anybody called when this sender sends it?"""
        return any(_matches(one.sender, sender) for one in self.receivers)

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Call the receivers, in the order in which they were connected.

        Args:
            sender: whom it is about.
            named: what receivers are told.

        Returns:
            Each receiver with what it returned, or the exception it raised.
        """
        responses: list[tuple[Receiver, Any]] = []
        for connection in self.receivers:
            receiver = connection.receiver() if _matches(connection.sender, sender) else None
            if receiver is None:
                continue
            try:
                response = receiver(signal=self, sender=sender, **named)
            except Exception as error:
                logger.exception("a receiver of %s failed: %r", self.name, receiver)
                response = error
            responses.append((receiver, response))
        return responses

    send_robust = send

    def _sweep(self, _gone: Any) -> None:
        with self._lock:
            self.receivers = tuple(one for one in self.receivers if one.receiver() is not None)

    def __repr__(self) -> str:
        return f"<Signal: {self.name}>"


def _identity(receiver: Any) -> Any:
    if isinstance(receiver, MethodType):
        return id(receiver.__self__), id(receiver.__func__)
    return id(receiver)


def _weakly(receiver: Any, gone: Callable[[Any], None]) -> Callable[[], Receiver | None]:
    try:
        if isinstance(receiver, MethodType):
            return weakref.WeakMethod(receiver, gone)
        return weakref.ref(receiver, gone)
    except TypeError:  # of a built-in kind
        return lambda: receiver


def _matches(wanted: Any, sender: Any) -> bool:
    """A task and its name stand for each other: some signals are sent by the one, some by the other."""
    if wanted is None or wanted is sender:
        return True
    if isinstance(wanted, str):
        return bool(wanted == (sender if isinstance(sender, str) else getattr(sender, "name", None)))
    return isinstance(sender, str) and getattr(wanted, "name", None) == sender


# ---- sending

before_task_publish = Signal("before_task_publish", "body exchange routing_key headers properties declare retry_policy")
after_task_publish = Signal("after_task_publish", "body exchange routing_key headers")

# ---- tasks, where they run

task_prerun = Signal("task_prerun", "task_id task args kwargs")
task_postrun = Signal("task_postrun", "task_id task args kwargs retval state")
task_success = Signal("task_success", "result runtime")
task_failure = Signal("task_failure", "task_id exception args kwargs traceback einfo")
task_retry = Signal("task_retry", "request reason einfo")
task_internal_error = Signal("task_internal_error", "task_id args kwargs request exception traceback einfo")

# ---- tasks, in the worker's main process

task_received = Signal("task_received", "request")
task_revoked = Signal("task_revoked", "request terminated signum expired")
task_rejected = Signal("task_rejected", "message exc")
task_unknown = Signal("task_unknown", "message exc name id")

# ---- workers

celeryd_init = Signal("celeryd_init", "instance conf options")
celeryd_after_setup = Signal("celeryd_after_setup", "instance conf")
import_modules = Signal("import_modules")
worker_init = Signal("worker_init")
worker_before_create_process = Signal("worker_before_create_process")
worker_process_init = Signal("worker_process_init")
worker_process_shutdown = Signal("worker_process_shutdown", "pid exitcode")
worker_ready = Signal("worker_ready")
worker_shutting_down = Signal("worker_shutting_down", "sig how exitcode")
worker_shutdown = Signal("worker_shutdown")
heartbeat_sent = Signal("heartbeat_sent")

# ---- the scheduler

beat_init = Signal("beat_init")
beat_embedded_init = Signal("beat_embedded_init")

# ---- logging and the command line

setup_logging = Signal("setup_logging", "loglevel logfile format colorize")
after_setup_logger = Signal("after_setup_logger", "logger loglevel logfile format colorize")
after_setup_task_logger = Signal("after_setup_task_logger", "logger loglevel logfile format colorize")
user_preload_options = Signal("user_preload_options", "app options")
