"""Where users add to an app: middleware around its tasks, steps of its workers. Owns these names."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from amqtask.app.core import AppCore
from amqtask.signals import import_modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.tasks.middleware import Middlewares


class StepClasses:
    """Classes of steps, in the order in which they were added; each once."""

    def __init__(self) -> None:
        self._classes: dict[type[Any], None] = {}

    def add(self, step: type[Any]) -> type[Any]:
        """Add a subclass of ``amqtask.worker.steps.base.Step``; also a decorator."""
        self._classes[step] = None
        return step

    def __iter__(self) -> Iterator[type[Any]]:
        return iter(self._classes)


class Extensible(AppCore):
    """``app.middleware`` and ``app.steps``."""

    _importing = False

    def _about_to_import(self) -> None:
        """Send the signal ``import_modules``, once: modules with tasks are about to be imported."""
        if not self._importing:
            self._importing = True
            import_modules.send(self)

    @property
    def middleware(self) -> Middlewares:
        """Code around sending and running tasks; ``app.middleware.add(MyMiddleware())``."""
        return self._wiring.middleware

    def trace(self) -> None:
        """Decide anew whether to trace, by the setting ``tracing``; for programs that configure OpenTelemetry late.

        Asked for by itself before the first message is made, and in each process of a worker that runs tasks, after
        the signal ``worker_process_init``. Once tracing has begun this does nothing. Thread-safe.

        Raises:
            ConfigError: the setting is ``on``, and OpenTelemetry is not installed, or does not work.
        """
        self._wiring.trace()

    @cached_property
    def steps(self) -> dict[str, StepClasses]:
        """Parts that are added to workers: ``app.steps["worker"].add(MyStep)``.

        Steps under ``consumer``, Celery's other place, start after those under ``worker``.
        """
        return {"worker": StepClasses(), "consumer": StepClasses()}
