"""Tasks that every app has: those that Celery's canvas sends by name. Owns what they do.

They are found under their names, but not listed among an app's tasks.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from amqtask.canvas.after import Errback
from amqtask.canvas.plan import CHAIN_MORE, CHAIN_OVER, CHAIN_SKIP, CHAIN_SKIPPED
from amqtask.canvas.shapes import ERRBACK, Shape
from amqtask.canvas.starting import COMPOSED, START, composition
from amqtask.errors import BrokerError, ConfigError
from amqtask.execution.chain_more import Skipped, go_on, over, skip
from amqtask.execution.errbacks import call
from amqtask.execution.hopeless import HOPELESS
from amqtask.execution.start import RUN_ENDED, StartApp, run_ended, start
from amqtask.results.failures import to_exception
from amqtask.tasks.options import TaskOptions
from amqtask.tasks.task import Task
from amqtask.wire.message import TaskMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from amqtask.execution.chain_more import ChainApp
    from amqtask.tasks.sender import Sender

    class BuiltinApp(ChainApp, StartApp, Protocol):
        """What is asked of an app for all of them."""


class Builtins:
    """Makes the built-in tasks of an app.

    Args:
        app: its tasks and results.
        sender: sends their messages.
    """

    def __init__(self, app: BuiltinApp, sender: Callable[[], Sender]) -> None:
        self._app, self._sender = app, sender

    def tasks(self) -> dict[str, Task[..., Any]]:
        """All of them, by name."""
        functions: dict[str, Callable[..., Any]] = {
            "celery.map": self._map,
            "celery.starmap": self._starmap,
            "celery.accumulate": _accumulate,
            "celery.backend_cleanup": self._backend_cleanup,
            ERRBACK: self._errback,
            CHAIN_SKIPPED: _chain_skipped,
        }
        made: dict[str, Task[..., Any]] = {
            name: Task(function, name, _PLAIN, self._sender) for name, function in functions.items()
        }
        patient: dict[str, Callable[..., Any]] = {
            CHAIN_MORE: self._chain_more,
            CHAIN_SKIP: self._chain_skip,
            CHAIN_OVER: self._chain_over,
            START: self._start,
            RUN_ENDED: self._run_ended,
            **{name: partial(self._start_named, name) for name in COMPOSED},
        }
        made.update((name, Task(function, name, _PATIENT, self._sender)) for name, function in patient.items())
        return made

    def _map(self, task: dict[str, Any], it: Iterable[Any]) -> list[Any]:
        function = self._function(task)
        return [function(item) for item in it]

    def _starmap(self, task: dict[str, Any], it: Iterable[Sequence[Any]]) -> list[Any]:
        function = self._function(task)
        return [function(*items) for items in it]

    def _function(self, sig: dict[str, Any]) -> Callable[..., Any]:
        task = self._app.tasks.get(sig["task"])
        if task is None:
            raise ConfigError(f"no task is named {sig['task']!r}")
        run = task.run
        return (lambda *args: asyncio.run(run(*args))) if task.is_async else run

    def _chain_more(self, *result: Any, **segment: Any) -> None:
        go_on(self._app, *result, **segment)

    def _chain_skip(self, **segment: Any) -> None:
        skip(self._app, **segment)

    def _chain_over(self, **queue: Any) -> None:
        over(self._app, **queue)

    def _start(self, work: Shape) -> None:
        start(self._app, work)

    def _start_named(self, name: str, *args: Any, **kwargs: Any) -> None:
        work = composition(name, args, kwargs, {})
        assert work is not None
        start(self._app, work)

    def _run_ended(self, *, log: str, entry: str, run: str) -> None:
        run_ended(self._app, log, entry, run)

    def _errback(
        self, task: dict[str, Any], failed: str, name: str, error: dict[str, Any], traceback: str | None
    ) -> None:
        errback = Errback(task, failed)
        call(self._app.tasks[task["task"]], errback, TaskMessage(name, failed), to_exception(error), traceback)

    def _backend_cleanup(self) -> int:
        backend = self._app.results_backend
        return 0 if backend is None else backend.clean_up()


_PLAIN = TaskOptions(retry=False)
_PATIENT = TaskOptions(autoretry_for=(BrokerError,), dont_autoretry_for=HOPELESS, retry_backoff=1.0, max_retries=None)
"""Of what only needs the broker: it comes back."""


def _accumulate(*args: Any, index: int | None = None) -> Any:
    """What a group becomes that takes the place of a task."""
    return list(args) if index is None else args[index]


def _chain_skipped(*, error: dict[str, Any], traceback: str | None, **_route: Any) -> None:
    raise Skipped(error, traceback)
