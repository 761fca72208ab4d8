"""What is told of tasks: the life of a delivery as Celery's task events. Owns the fields and the choice of event.

In this order::

    received ─► task-received ─► task-started ─┬─► task-succeeded
                                               ├─► task-failed ─► task-dead (our own)
                                               ├─► task-retried
                                               └─► task-rejected, task-revoked

Where what follows from a task can never be stored, a failure is told after its success, retry or other end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.execution.job import Kind
from amqtask.worker.custody.gates import Observer
from amqtask.worker.events.encoding import Body

if TYPE_CHECKING:
    from amqtask.events.event import Event
    from amqtask.execution.job import Outcome
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect
    from amqtask.worker.events.dispatcher import EventDispatcher


class TaskEvents(Observer):
    """Lives on the I/O thread. Silent until it is enabled.

    Args:
        dispatcher: sends.
    """

    def __init__(self, dispatcher: EventDispatcher) -> None:
        self._put = dispatcher.put
        self.enabled = False

    def received(self, delivery: Delivery) -> None:  # noqa: D102 -- as Observer says; so for the others
        if not self.enabled or delivery.id is None:
            return
        headers = delivery.properties.headers or {}
        shown, body = _shown(headers), None
        if shown is None:
            shown = {"args": None, "kwargs": None}
            if not headers.get("compression"):
                body = Body(delivery.properties.content_type, delivery.body)
        fields = {
            "uuid": delivery.id,
            "name": delivery.name,
            **shown,
            "root_id": headers.get("root_id") or delivery.id,
            "parent_id": headers.get("parent_id"),
            "retries": delivery.retries,
            "eta": headers.get("eta"),
            "expires": headers.get("expires"),
            "queue": delivery.queue,
        }
        self._put("task-received", fields, body)

    def started(self, delivery: Delivery) -> None:  # noqa: D102
        if self.enabled and delivery.id is not None:
            self._put("task-started", {"uuid": delivery.id})

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:  # noqa: D102
        if not self.enabled or delivery.id is None:
            return
        told = _told(outcome, effect)
        if told is None:
            return
        kind, fields = told
        if effect.dead:
            fields["dead"] = effect.dead
        self._put(kind, {"uuid": delivery.id, **fields})
        if kind == "task-failed" and effect.dead:
            self._dead(delivery, effect)

    def lost(self, delivery: Delivery, effect: Effect, reason: str) -> None:  # noqa: D102
        if not self.enabled or delivery.id is None:
            return
        if effect.dead:
            exception = f"WorkerLost({reason!r})"
            self._put("task-failed", {"uuid": delivery.id, "exception": exception, "dead": effect.dead})
            self._dead(delivery, effect)
        else:
            self._put("task-rejected", {"uuid": delivery.id, "requeue": True, "reason": reason})

    def unsendable(self, delivery: Delivery, kind: int | None, effect: Effect) -> None:  # noqa: ARG002, D102
        if self.enabled and delivery.id is not None and effect.lost is not None:
            self._put("task-failed", {"uuid": delivery.id, **_raised(effect.lost), "dead": effect.dead})
            self._dead(delivery, effect)

    def _dead(self, delivery: Delivery, effect: Effect) -> None:
        self._put("task-dead", {"uuid": delivery.id, "reason": effect.dead, "queue": delivery.queue})


def _shown(headers: Any) -> Event | None:
    """What the sender lets people see of the arguments, if it says so."""
    args, kwargs = headers.get("argsrepr"), headers.get("kwargsrepr")
    return {"args": args, "kwargs": kwargs} if isinstance(args, str) and isinstance(kwargs, str) else None


def _told(outcome: Outcome, effect: Effect) -> tuple[str, Event] | None:
    """Type and fields of the event for an end; None for what is no end, or none of interest."""
    kind = outcome.kind
    if kind == Kind.SUCCESS:
        return "task-succeeded", {"result": outcome.text, "runtime": outcome.runtime}
    if kind == Kind.REVOKED:
        return "task-revoked", {"terminated": outcome.runtime > 0, "signum": None, "expired": False}
    if kind == Kind.EXPIRED:
        return "task-revoked", {"terminated": False, "signum": None, "expired": True}
    if kind in (Kind.REJECTED, Kind.REQUEUE):
        return "task-rejected", {"requeue": kind == Kind.REQUEUE}
    if kind == Kind.RETRY and not effect.dead:
        return "task-retried", _raised(outcome)
    return ("task-failed", _raised(outcome)) if effect.dead else None


def _raised(outcome: Outcome) -> Event:
    if outcome.error is None:
        return {"exception": f"{Kind(outcome.kind).name}({outcome.text!r})"}
    path, text, traceback = outcome.error
    return {"exception": f"{path.rpartition('.')[2]}({text!r})", "traceback": traceback}
