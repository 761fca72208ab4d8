"""The worker's own signals: its life, and what happens to tasks in its main process. Owns when each is sent.

Receivers are called on the I/O thread, except for those of the set-up, which come first and on the main thread; of a
pool with processes, before the first one is made.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from amqtask import signals
from amqtask.execution.job import Kind
from amqtask.worker.custody.gates import Observer
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.app.app import Amqtask
    from amqtask.execution.job import Outcome
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect
    from amqtask.worker.engine import Engine
    from amqtask.worker.options import WorkerOptions


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """The worker as receivers of its signals know it: their ``sender`` or ``instance``."""

    app: Amqtask
    options: WorkerOptions

    @property
    def hostname(self) -> str:
        """Its node name."""
        return self.options.hostname


class SignalRequest:
    """A delivery as receivers of signals know it, under Celery's names."""

    def __init__(self, hostname: str, delivery: Delivery) -> None:
        self.hostname, self._delivery = hostname, delivery
        self.id = self.task_id = delivery.id
        self.name = self.task_name = self.type = delivery.name
        properties = delivery.properties
        self.request_dict = self.headers = dict(properties.headers or {})
        self.correlation_id, self.reply_to = properties.correlation_id, properties.reply_to
        self.body, self.content_type = delivery.body, properties.content_type
        self.delivery_info = {
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "priority": delivery.priority,
            "redelivered": delivery.redelivered,
            "queue": delivery.queue,
        }

    def __getattr__(self, name: str) -> Any:
        if name in _HEADERS:
            return self.headers.get(name)
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"<Request: {self.name}[{self.id}]>"


_HEADERS = frozenset({"root_id", "parent_id", "eta", "expires", "retries", "argsrepr", "kwargsrepr", "group", "shadow"})


def set_up(app: Amqtask, options: WorkerOptions) -> None:
    """A worker is about to be made; its tasks are loaded."""
    instance = Instance(app, options)
    signals.celeryd_init.send(options.hostname, instance=instance, conf=app.conf, options=asdict(options))
    signals.celeryd_after_setup.send(options.hostname, instance=instance, conf=app.conf)
    signals.worker_init.send(instance)


class SignalsStep(Step):
    """Sends what comes after the set-up."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        self._instance = Instance(worker.app, worker.options)
        self._told_ready = False
        worker.custody.observers.append(_Tasks(self._instance))

    def ready(self) -> None:
        """Once, however often the connection is made again."""
        if not self._told_ready:
            self._told_ready = True
            signals.worker_ready.send(self._instance)

    def stopping(self) -> None:
        """A shutdown begins."""
        end = self.worker.shutdown
        signals.worker_shutting_down.send(
            self._instance.hostname, sig=end.cause, how=end.how, exitcode=self.worker.exit_status
        )

    def stop(self, done: Callable[[], None]) -> None:
        """The worker ends."""
        signals.worker_shutdown.send(self._instance)
        done()


class _Tasks(Observer):
    """What happens to tasks in this process."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def received(self, delivery: Delivery) -> None:
        if signals.task_received.receivers:
            signals.task_received.send(self._instance, request=SignalRequest(self._instance.hostname, delivery))

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:  # noqa: ARG002
        signal = _SIGNALS.get(outcome.kind)
        if signal is None or not signal.receivers:
            return
        request = SignalRequest(self._instance.hostname, delivery)
        if signal is signals.task_revoked:
            expired = outcome.kind == Kind.EXPIRED
            terminated = outcome.kind == Kind.REVOKED and outcome.runtime > 0
            signal.send(
                self._instance.app.tasks.get(delivery.name or ""),
                request=request,
                terminated=terminated,
                signum=None,
                expired=expired,
            )
        elif signal is signals.task_unknown:
            signal.send(
                self._instance, message=request, exc=KeyError(delivery.name), name=delivery.name, id=delivery.id
            )
        else:
            signal.send(self._instance, message=request, exc=outcome.text)


_SIGNALS: dict[int, signals.Signal] = {
    Kind.REVOKED: signals.task_revoked,
    Kind.EXPIRED: signals.task_revoked,
    Kind.UNKNOWN_TASK: signals.task_unknown,
    Kind.UNDECODABLE: signals.task_rejected,
    Kind.REFUSED: signals.task_rejected,
    Kind.REJECTED: signals.task_rejected,
}

STEP = SignalsStep
