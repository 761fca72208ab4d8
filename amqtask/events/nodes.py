"""What is known of a worker and of a task from their events. Owns how an event changes them; attributes are Celery's.

Events may come late or out of order. An event of an earlier stage of a task's life than the one it has reached adds
what only that stage tells (its name, its arguments), and changes nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask import clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from amqtask.events.event import Event

_HEARTBEATS_KEPT = 4
_WINDOW = 2.0
"""A worker is alive for this many of its heartbeat intervals after the last one was received."""

_STATES = {
    "sent": "PENDING",
    "received": "RECEIVED",
    "started": "STARTED",
    "failed": "FAILURE",
    "retried": "RETRY",
    "succeeded": "SUCCESS",
    "revoked": "REVOKED",
    "rejected": "REJECTED",
}
"""Type of a task event without its prefix -> state."""

_ORDER = ("PENDING", "RETRY", "REJECTED", "RECEIVED", "STARTED", "REVOKED", "", "FAILURE", "SUCCESS")
"""Stages of a task's life, the last one wins; the empty name stands for every other."""

_EARLY_FIELDS = ("name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires")
"""What a late task-received still tells."""

_TIMES = ("sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected")
READY = frozenset({"SUCCESS", "FAILURE", "REVOKED"})


class Worker:
    """A worker, as its events tell. Has the fields of the last one as attributes (``active``, ``loadavg``, ...).

    Args:
        hostname: node name.
        fields: what is known already.
    """

    freq: float = 60.0
    pid: int | None = None
    clock: int = 0
    active: int | None = None
    processed: int | None = None
    loadavg: Any = None
    sw_ident: str | None = None
    sw_ver: str | None = None
    sw_sys: str | None = None

    def __init__(self, hostname: str, **fields: Any) -> None:
        self.hostname = hostname
        self.heartbeats: list[float] = []
        self.__dict__.update(fields)

    def event(
        self, kind: str | None, timestamp: float | None, local_received: float | None, fields: Event | None = None
    ) -> None:
        """Take in one event: ``kind`` is its type without prefix; ``fields`` all it says."""
        self.__dict__.update({key: value for key, value in (fields or {}).items() if key not in _METHODS})
        if kind == "offline":
            self.heartbeats.clear()
        elif local_received and timestamp:
            self.heartbeats = sorted([*self.heartbeats, local_received])[-_HEARTBEATS_KEPT:]

    @property
    def heartbeat_expires(self) -> float:
        """When it counts as gone, in epoch seconds, unless another event comes."""
        freq: object = self.freq  # as the last event says, which anybody may have sent
        return self.heartbeats[-1] + (freq if isinstance(freq, int | float) else Worker.freq) * _WINDOW

    @property
    def alive(self) -> bool:
        """Has it been heard of lately?"""
        return bool(self.heartbeats) and clock.wall() < self.heartbeat_expires

    @property
    def status_string(self) -> str:
        """``ONLINE`` or ``OFFLINE``."""
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def id(self) -> str:
        """Node name and process."""
        return f"{self.hostname}.{self.pid}"

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})"


class Task:
    """A task, as events tell. Has every field of its events as an attribute.

    Args:
        uuid: its id.
        tasks: of the state it belongs to, to find root and parent.
        families: of that state: id -> the tasks that this one has sent.
    """

    name: str | None = None
    state: str = "PENDING"
    clock: int = 0
    worker: Worker | None = None
    client: str | None = None
    args: str | None = None
    kwargs: str | None = None
    eta: str | None = None
    expires: str | None = None
    retries: int | None = None
    result: str | None = None
    exception: str | None = None
    traceback: str | None = None
    runtime: float | None = None
    timestamp: float | None = None
    exchange: str | None = None
    routing_key: str | None = None
    queue: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    sent = received = started = succeeded = failed = retried = revoked = rejected = None

    _info_fields = (
        "args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange", "routing_key",
        "root_id", "parent_id",
    )  # fmt: skip
    _fields = (
        "uuid", "name", "state", *_TIMES, "args", "kwargs", "eta", "expires", "retries", "result", "exception",
        "timestamp", "runtime", "traceback", "exchange", "routing_key", "clock", "client", "root_id", "parent_id",
    )  # fmt: skip

    def __init__(
        self,
        uuid: str,
        tasks: Mapping[str, Task] | None = None,
        families: Mapping[str, set[Task]] | None = None,
    ) -> None:
        self.uuid = uuid
        self._tasks = {} if tasks is None else tasks
        self._families = {} if families is None else families

    def event(
        self,
        kind: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Event | None = None,
    ) -> None:
        """Take in one event: ``kind`` is its type without prefix; ``fields`` all it says."""
        del local_received
        state = _STATES.get(kind)
        if state is not None:
            setattr(self, kind, timestamp)
        else:
            state = kind.upper()
        taken = {key: value for key, value in (fields or {}).items() if key not in _METHODS}
        taken.pop("state", None)
        if "RETRY" not in (state, self.state) and _stage(state) < _stage(self.state):
            if state == "RECEIVED":
                taken = {key: value for key, value in taken.items() if key in _EARLY_FIELDS}
        else:
            taken.update(state=state, timestamp=timestamp)
        self.__dict__.update(taken)

    def info(self, fields: Iterable[str] | None = None, extra: Iterable[str] = ()) -> dict[str, Any]:
        """What is worth showing: those of the fields that are known.

        Args:
            fields: names, instead of the usual ones.
            extra: names beside them.
        """
        names = [*(self._info_fields if fields is None else fields), *(extra or ())]
        found = ((name, getattr(self, name, None)) for name in names)
        return {name: value for name, value in found if value is not None}

    def as_dict(self) -> dict[str, Any]:
        """Every field, as plain values."""
        return {
            **{name: getattr(self, name, None) for name in self._fields},
            "worker": None if self.worker is None else self.worker.hostname,
            "children": [child.uuid for child in self.children],
        }

    @property
    def id(self) -> str:
        """The same as ``uuid``."""
        return self.uuid

    @property
    def ready(self) -> bool:
        """Has it ended?"""
        return self.state in READY

    @property
    def origin(self) -> str | None:
        """Who tells of it: a worker, or who sent it."""
        return self.client if self.worker is None else self.worker.id

    @property
    def children(self) -> set[Task]:
        """The tasks it has sent, as far as they are known here."""
        return set(self._families.get(self.uuid, ()))

    @property
    def parent(self) -> Task | None:
        """The task that sent it, if it is known here."""
        return self._tasks.get(str(self.parent_id))

    @property
    def root(self) -> Task | None:
        """The first task of its tree, if it is known here."""
        return self._tasks.get(str(self.root_id))

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"


_METHODS = (
    frozenset(name for kind in (Worker, Task) for name in vars(kind) if callable(getattr(kind, name, None)))
    | {name for kind in (Worker, Task) for name, value in vars(kind).items() if isinstance(value, property)}
    | {"heartbeats", "worker", "client", "_tasks", "_families", "_fields", "_info_fields"}
)
"""Names that an event can't set: anybody can publish one."""


def _stage(state: str) -> int:
    """Place of a state in a task's life."""
    return _ORDER.index(state) if state in _ORDER else _ORDER.index("")
