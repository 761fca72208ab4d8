"""One entry of the schedule: which task, when, and what becomes of due times that are missed or overlap.

Owns the value and the reading of its keys, with errors that say which entry and which key is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from amqtask.config.zones import zone
from amqtask.durations import parse_duration
from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.schedules.interval import schedule as interval
from amqtask.schedules.reading import read_schedule

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from amqtask.schedules.base import Schedule

CatchUp = Literal["none", "one", "all"]
Overlap = Literal["allow", "skip", "buffer_one", "cancel_previous"]

IN_TIME: Final = timedelta(minutes=1)
"""How late an occurrence may be without being one that was missed."""

KEYS: Final = (
    "task", "schedule", "args", "kwargs", "options", "relative", "tz", "jitter", "catchup", "deadline", "overlap",
    "overlap_timeout", "expires", "queue", "priority", "enabled",
)  # fmt: skip
_NOTHING: Final = timedelta(0)
CALL_KEYS: Final = ("expires", "queue", "priority")
"""Those of them that are options of the call."""


@dataclass(frozen=True)
class Entry:
    """A periodic task.

    Attributes:
        name: of the entry; each has its own.
        task: name of the task; of a chain, group or chord the name that its signature has.
        schedules: when; due at each due time of any of them.
        args, kwargs: of the call.
        options: of the call, as ``apply_async`` has them.
        jitter: each occurrence is sent later by a random time up to this, the same whoever sends it.
        catchup: of due times that were missed, because nobody was there to send them: send none, the last, or all.
        deadline: how late an occurrence may be sent; None: any time, or a minute when ``catchup`` is none.
        overlap: while the run before has not ended: send anyway, skip, send one as soon as it has, or cancel it.
        overlap_timeout: how long after its due time a run counts as ended although nobody said so; None: a day.
        enabled: False pauses the entry.
        tz: zone of the schedules that name none.
        where: place of its declaration, for messages.
    """

    name: str
    task: str
    schedules: tuple[Schedule, ...]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    jitter: timedelta = timedelta(0)
    catchup: CatchUp = "one"
    deadline: timedelta | None = None
    overlap: Overlap = "allow"
    overlap_timeout: timedelta | None = None
    enabled: bool = True
    tz: tzinfo | None = None
    where: str = field(default="", compare=False)

    @property
    def latest_start(self) -> timedelta | None:
        """How late an occurrence may be sent; None is no bound."""
        return self.deadline if self.deadline is not None or self.catchup != "none" else IN_TIME

    @property
    def words(self) -> str:
        """Its schedules as people read them."""
        return "; ".join(one.words for one in self.schedules)

    @property
    def fingerprint(self) -> str:
        """Of the times at which it is due: it changes when another history is wanted."""
        return repr([sorted(one.spec().items()) for one in self.schedules])

    def next(self, after: datetime) -> datetime | None:
        """The first due time of any of its schedules after this moment."""
        found = [due for one in self.schedules if (due := one.next(after)) is not None]
        return min(found, default=None)

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last due time after one moment, and not after another."""
        found = [due for one in self.schedules if (due := one.latest(after, until)) is not None]
        return max(found, default=None)


def read_entry(name: str, given: Any, zone_of_app: tzinfo, where: str = "") -> Entry:
    """An entry of the setting ``beat_schedule``, of routing.yaml, or of ``add_periodic_task``.

    Args:
        name: of the entry.
        given: mapping with some of :data:`KEYS`; ``schedule`` may be a list.
        zone_of_app: of schedules that name none.
        where: place of the declaration.

    Raises:
        ConfigError: says which entry and which key is wrong.
    """
    place = f"{where}: " if where else ""
    try:
        return _read(name, given, zone_of_app, where)
    except ConfigError as error:
        raise ConfigError(f"{place}periodic task {name!r}: {error}") from None


def _read(name: Any, given: Any, zone_of_app: tzinfo, where: str) -> Entry:
    if not isinstance(name, str) or not name:
        raise ConfigError("the name of a periodic task must be a text, and not empty")
    if not isinstance(given, Mapping):
        raise ConfigError(f"a mapping with 'task' and 'schedule' is required, got {given!r}")
    for key in given:
        if key not in KEYS:
            raise ConfigError(
                f"there is no key {key!r}{did_you_mean(str(key), KEYS) or '; there are ' + ', '.join(KEYS)}"
            )
    given = _called(given)
    task = given.get("task")
    if not isinstance(task, str) or not task:
        raise ConfigError(f"'task' must be the name of a task, or a signature, not {task!r}")
    if given.get("schedule") is None:
        raise ConfigError("it has no 'schedule'")
    own = None if given.get("tz") is None else zone(given["tz"])
    return Entry(
        name,
        task,
        _schedules(given["schedule"], _flag(given, "relative", usual=False), own or zone_of_app),
        _args(given.get("args")),
        _kwargs("kwargs", given.get("kwargs")),
        _options(given),
        _duration("jitter", given.get("jitter")) or timedelta(0),
        _one_of("catchup", given.get("catchup") or "one", get_args(CatchUp)),
        _deadline(given.get("deadline")),
        _one_of("overlap", given.get("overlap") or "allow", get_args(Overlap)),
        _overlap_timeout(given),
        _flag(given, "enabled", usual=True),
        own,
        where,
    )


def _called(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with the call written out, if the task is a signature or the dict of one; what the entry says wins."""
    sig = given.get("task")
    if not isinstance(sig, Mapping) or not isinstance(sig.get("task"), str):
        return given
    written = {key for key in CALL_KEYS if given.get(key) is not None}
    call = call_of(sig)
    own = {key: value for key, value in call["options"].items() if key not in written}
    said = {key: given[key] for key in ("args", "kwargs") if given.get(key)}
    return {**given, **call, **said, "options": {**own, **_kwargs("options", given.get("options"))}}


def call_of(task: Any) -> dict[str, Any]:
    """What an entry says of the call: ``task``, the name; of a signature ``args``, ``kwargs`` and ``options``, too.

    Args:
        task: a task, its name, a signature or the dict of one.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(task, Mapping) and isinstance(task.get("task"), str):
        options = {name: value for name, value in (task.get("options") or {}).items() if name != "task_id"}
        return {"task": task["task"], "args": task.get("args"), "kwargs": task.get("kwargs"), "options": options}
    name = task if isinstance(task, str) else getattr(task, "name", None)
    if not isinstance(name, str):
        raise ConfigError(f"a signature or a task is required, got {task!r}; write for example task.s(1)")
    return {"task": name}


def _schedules(given: Any, relative: bool, tz: tzinfo) -> tuple[Schedule, ...]:
    listed = given if isinstance(given, list | tuple) else [given]
    if not listed:
        raise ConfigError("'schedule' is an empty list")
    read = [read_schedule(one) for one in listed]
    if relative:
        read = [interval(one.run_every, True, tz=one.tz) if isinstance(one, interval) else one for one in read]
    found = tuple(one.within(tz) for one in read)
    if sum(one.follows for one in found) > 1:
        raise ConfigError("of several schedules one at most may be an interval: each counts from the run before")
    return found


def _args(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f"'args' must be a list, not {given!r}")
    return tuple(given)


def _kwargs(name: str, given: Any) -> dict[str, Any]:
    if given is None or given == ():
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ConfigError(f"{name!r} must be a mapping, not {given!r}")
    return dict(given)


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    options = _kwargs("options", given.get("options"))
    for name in CALL_KEYS:
        if given.get(name) is not None:
            if options.get(name) is not None:
                raise ConfigError(f"{name!r} is given twice, once among the options")
            options[name] = given[name]
    for name in ("countdown", "eta", "task_id"):
        if options.pop(name, None) is not None:
            raise ConfigError(
                f"option {name!r} has no meaning here: the schedule says when, and each run has its own id"
            )
    if isinstance(options.get("expires"), str):
        options["expires"] = parse_duration(options["expires"])
    if isinstance(options.get("expires"), int | float | timedelta) and parse_duration(options["expires"]) == _NOTHING:
        raise ConfigError("'expires': with 0s no run would ever start; leave it out to have none expire")
    return options


def _duration(name: str, given: Any) -> timedelta | None:
    try:
        return None if given is None else parse_duration(given)
    except ConfigError as error:
        raise ConfigError(f"{name!r}: {error}") from None


def _deadline(given: Any) -> timedelta | None:
    read = _duration("deadline", given)
    if read == _NOTHING:
        raise ConfigError("'deadline': nothing is sent less than 0s late; leave it out to send at any time")
    return read


def _overlap_timeout(given: Mapping[str, Any]) -> timedelta | None:
    read = _duration("overlap_timeout", given.get("overlap_timeout"))
    if read == _NOTHING:
        raise ConfigError("'overlap_timeout': with 0s runs may overlap; write overlap: allow")
    return read


def _flag(given: Mapping[str, Any], name: str, *, usual: bool) -> bool:
    value = given.get(name)
    if value is None:
        return usual
    if not isinstance(value, bool):
        raise ConfigError(f"{name!r} must be true or false, not {value!r}")
    return value


def _one_of(name: str, given: Any, known: tuple[str, ...]) -> Any:
    if given not in known:
        raise ConfigError(f"{name}={given!r}: it must be one of {', '.join(known)}{did_you_mean(str(given), known)}")
    return given


def spec_of(entry: Entry) -> dict[str, Any]:
    """The entry as plain values, which :func:`read_entry` reads back."""
    found: dict[str, Any] = {
        "task": entry.task,
        "schedule": [dict(one.spec()) for one in entry.schedules],
        "args": list(entry.args),
        "kwargs": dict(entry.kwargs),
        "options": {
            key: value.total_seconds() if isinstance(value, timedelta) else value
            for key, value in entry.options.items()
        },
        "catchup": entry.catchup,
        "overlap": entry.overlap,
    }
    for name in ("jitter", "deadline", "overlap_timeout"):
        if value := getattr(entry, name):
            found[name] = value.total_seconds()
    if not entry.enabled:
        found["enabled"] = False
    return found
