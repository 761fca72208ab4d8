"""The ``schedule:`` block of routing.yaml: its keys, and what they are called in ``beat_schedule``. Owns both.

What a cron line or an event of the sun means is read later, by :mod:`amqtask.schedules`, with the same places in its
messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask.topology.kinds import Choice, Duration, Flag, Integer, Text, refuse
from amqtask.topology.nodes import INVALID
from amqtask.topology.records import Arguments, Either, Key, ListOf, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.topology.nodes import Node, Report


@dataclass(frozen=True)
class Values:
    """A list of anything."""

    expected: str = "a list of arguments"
    example: str = "[1, two]"

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`amqtask.topology.kinds.Kind`."""
        if not isinstance(node.value, list):
            return refuse(node, report, self)
        return INVALID if any(item.value is INVALID for item in node.value) else node.plain()

    def fits(self, node: Node) -> bool:
        """See :class:`amqtask.topology.kinds.Kind`."""
        return isinstance(node.value, list)

    def schema(self) -> dict[str, Any]:
        """See :class:`amqtask.topology.kinds.Kind`."""
        return {"type": "array"}


@dataclass(frozen=True)
class Degrees:
    """A latitude or a longitude."""

    most: int
    example: str
    expected: str = "degrees"

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`amqtask.topology.kinds.Kind`."""
        fine = self.fits(node) and -self.most <= node.value <= self.most
        return float(node.value) if fine else refuse(node, report, self)

    def fits(self, node: Node) -> bool:
        """See :class:`amqtask.topology.kinds.Kind`."""
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)

    def schema(self) -> dict[str, Any]:
        """See :class:`amqtask.topology.kinds.Kind`."""
        return {"type": "number", "minimum": -self.most, "maximum": self.most}


_cron = Text("a cron line", '"30 7 * * mon-fri"')

SOLAR = Record(
    "an event of the sun",
    "{event: sunset, lat: 52.5, lon: 13.4}",
    {
        "event": Key(
            Choice(
                (
                    "dawn_astronomical", "dawn_nautical", "dawn_civil", "sunrise", "solar_noon", "sunset",
                    "dusk_civil", "dusk_nautical", "dusk_astronomical",
                )
            ),
            "Which.",
            required=True,
        ),
        "lat": Key(Degrees(90, "52.5"), "Latitude, north positive.", required=True),
        "lon": Key(Degrees(180, "13.4"), "Longitude, east positive.", required=True),
    },
)  # fmt: skip

PERIODIC = Record(
    "a periodic task",
    '{task: shop.report, cron: "30 7 * * mon-fri"}',
    {
        "task": Key(Text("the name of a task", "shop.report"), "Name of the task.", required=True),
        "every": Key(Duration("10m"), "How often."),
        "relative": Key(Flag(), "With every: on full hours, minutes, ... of the clock.", default="false"),
        "cron": Key(
            Either((_cron, ListOf(_cron, "a list of cron lines", least=1))), "A cron line, @daily, or several of them."
        ),
        "solar": Key(SOLAR, "An event of the sun."),
        "tz": Key(Text("a time zone", "Europe/Berlin"), "Zone of the clock.", default="the setting timezone"),
        "args": Key(Values(), "Arguments of the call."),
        "kwargs": Key(Arguments("a mapping", "{month: 11}"), "Keyword arguments of the call."),
        "options": Key(Arguments("a mapping", "{serializer: json}"), "Other options of the call, as in apply_async."),
        "queue": Key(Text("the name of a queue", "slow"), "Send it to this queue, whatever the routes say."),
        "priority": Key(Integer("a priority", 0, 9, "7"), "0 to 9, 9 first."),
        "expires": Key(Duration("5m"), "Don't start it later than this after it was sent."),
        "jitter": Key(Duration("30s"), "Send it later by a random time up to this.", default="0s"),
        "catchup": Key(
            Choice(("none", "one", "all")), "Of due times that were missed: send none, the last, or all.", default="one"
        ),
        "deadline": Key(Duration("1h"), "How late it may be sent.", default="any time; a minute with catchup none"),
        "overlap": Key(
            Choice(("allow", "skip", "buffer_one", "cancel_previous")),
            "While the run before has not ended: send it anyway, skip it, send one afterwards, or cancel that run.",
            default="allow",
        ),
        "overlap_timeout": Key(Duration("2h"), "When a run counts as ended although nobody said so.", default="a day"),
        "enabled": Key(Flag(), "false pauses it.", default="true"),
    },
    one_of=("every", "cron", "solar"),
    only_with={"relative": "every"},
)


def as_entry(values: Mapping[str, Any]) -> dict[str, Any]:
    """What ``beat_schedule`` would say, and ``where``."""
    entry = {key: value for key, value in values.items() if key not in ("every", "cron", "solar")}
    if "every" in values:
        entry["schedule"] = {"every": values["every"]}
    elif "cron" in values:
        lines = values["cron"] if isinstance(values["cron"], list) else [values["cron"]]
        entry["schedule"] = [{"cron": line} for line in lines]
    else:
        sun = values["solar"]
        entry["schedule"] = {"solar": sun["event"], "lat": sun["lat"], "lon": sun["lon"]}
    return entry
