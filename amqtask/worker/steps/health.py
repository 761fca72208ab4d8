"""Answers health checks: the worker's part of :mod:`amqtask.worker.health.server`. Owns what healthy means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.health.server import Health, HealthServer
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.worker.engine import Engine


class HealthChecks(Step):
    """Serves ``worker_health`` and the socket beside the pidfile."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        self._server: HealthServer | None = None
        self._stopping = False

    @classmethod
    def wanted(cls, worker: Engine) -> bool:  # noqa: D102 -- as Step says
        return worker.app.settings.worker_health is not None or worker.options.health_socket is not None

    def start(self) -> None:  # noqa: D102
        worker = self.worker
        listen, path = worker.app.settings.worker_health, worker.options.health_socket
        self._server = HealthServer(
            self._ask, listen, path, shared=worker.predecessor is not None, new_thread=worker.pool.new_thread
        )
        self._server.start()

    def ready(self) -> None:  # noqa: D102
        if self._server is not None:
            self._server.take_path()  # not before: a successor may fail, and the worker before it goes on

    def stopping(self) -> None:  # noqa: D102
        self._stopping = True
        if self.worker.successor is not None:
            self._close()  # else half of the questions would come here, and be told that it is ending

    def stop(self, done: Callable[[], None]) -> None:  # noqa: D102
        self._close()
        done()

    def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def _ask(self, answer: Callable[[Health], None]) -> None:
        self.worker.call_soon(
            lambda: answer(Health(self.worker.restart_reason or self.worker.problem(), self._unready()))
        )

    def _unready(self) -> str:
        worker = self.worker
        if self._stopping:
            return "it is ending"
        if worker.restart_reason:
            return worker.restart_reason
        if worker.connection is None:
            return "no connection to the broker"
        lacking = worker.consumers.lacking
        return f"not consuming {', '.join(lacking)}" if lacking else ""


STEP = HealthChecks
