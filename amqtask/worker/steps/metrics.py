"""Serves metrics to Prometheus: the worker's part of :mod:`amqtask.worker.metrics`. Owns when it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.steps.base import Step
from amqtask.worker.steps.beat import EmbeddedBeat

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.worker.engine import Engine
    from amqtask.worker.metrics.server import MetricsServer


class MetricsStep(Step):
    """Setting ``worker_metrics``."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        self._server: MetricsServer | None = None

    @classmethod
    def wanted(cls, worker: Engine) -> bool:  # noqa: D102 -- as Step says
        return worker.app.settings.worker_metrics is not None

    def start(self) -> None:  # noqa: D102
        from amqtask.worker.metrics.server import MetricsServer  # noqa: PLC0415 -- workers without it do without

        where = self.worker.app.settings.worker_metrics
        assert where is not None  # else it is not wanted
        beat = self.worker.step(EmbeddedBeat)
        self._server = MetricsServer(self.worker, where, (lambda: None) if beat is None else beat.figures)
        self._server.start()

    def stopping(self) -> None:  # noqa: D102
        if self.worker.successor is not None:
            self._close()  # else half of the questions would come here

    def stop(self, done: Callable[[], None]) -> None:  # noqa: D102
        self._close()
        done()

    def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()


STEP = MetricsStep
