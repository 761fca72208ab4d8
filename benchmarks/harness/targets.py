"""What amqtask has to reach, as ratios between rows of one session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """One line of the table of targets.

    Attributes:
        text: what is compared.
        wanted: the bound.
        at_least: the figure must not be below the bound; else not above.
        figure: computes it from the rows; None when a row is missing.
        unit: shown after the figures; ``x`` marks a ratio.
    """

    text: str
    wanted: float
    at_least: bool
    figure: Callable[[Mapping[str, Row]], float | None]
    unit: str = ""

    def verdict(self, figure: float | None) -> str:
        if figure is None:
            return "not measured"
        return "pass" if (figure >= self.wanted if self.at_least else figure <= self.wanted) else "**fail**"


def _entrants(rows: Mapping[str, Row], measure: str, contest: str, peer: str, queue_type: str | None) -> list[Row]:
    return [
        row
        for row in rows.values()
        if (row["measure"], row["contest"], row["peer"]) == (measure, contest, peer)
        and queue_type in (None, row["settings"].get("queue_type"))
    ]


def _best(
    figure: str, measure: str, contest: str, peer: str, queue_type: str | None = None
) -> Callable[[Mapping[str, Row]], float | None]:
    """A figure of the peer's fastest row in the contest."""

    def read(rows: Mapping[str, Row]) -> float | None:
        found = _entrants(rows, measure, contest, peer, queue_type)
        if not found:
            return None
        fastest = max(found, key=lambda row: row["median"].get("rate", 0))
        return fastest["median"].get(figure)

    return read


def _ratio(measure: str, contest: str, peer: str, queue_type: str, figure: str = "rate") -> Any:
    """Of amqtask's best row to the peer's."""
    ours = _best(figure, measure, contest, "amqtask", queue_type)
    theirs = _best(figure, measure, contest, peer, queue_type)

    def read(rows: Mapping[str, Row]) -> float | None:
        one, other = ours(rows), theirs(rows)
        return None if one is None or not other else one / other

    return read


def _drain(queue_type: str) -> tuple[Target, ...]:
    what = f"drain, prefork 2, best prefetch, {queue_type}"
    return (
        Target(f"{what}: tasks/s to Celery's", 5.0, True, _ratio("drain", "drain", "celery", queue_type), "x"),
        Target(f"{what}: tasks/s to Dramatiq's", 1.2, True, _ratio("drain", "drain", "dramatiq", queue_type), "x"),
        Target(f"{what}: CPU10k", 0.6, False, _best("cpu10k", "drain", "drain", "amqtask", queue_type)),
    )


def _publish(queue_type: str) -> tuple[Target, ...]:
    many, one = ("enqueue", "pipelined"), ("enqueue", "one by one")
    return (
        Target(
            f"delay_many, {queue_type}: messages/s to raw pika's",
            0.6,
            True,
            _ratio(*many, "raw", queue_type),
            "x",
        ),
        Target(f"delay_many, {queue_type}: CPU10k", 0.4, False, _best("cpu10k", *many, "amqtask", queue_type)),
        Target(f"delay, {queue_type}: messages/s to raw pika's", 0.9, True, _ratio(*one, "raw", queue_type), "x"),
    )


TARGETS: tuple[Target, ...] = (
    *_drain("classic"),
    *_drain("quorum"),
    Target(
        "drain, one at a time per child: tasks/s to Celery's",
        3.0,
        True,
        _ratio("drain", "strict", "celery", "classic"),
        "x",
    ),
    *_publish("classic"),
    *_publish("quorum"),
    Target(
        "one-way latency p50 to Dramatiq's",
        1.0,
        False,
        _ratio("latency", "latency", "dramatiq", "classic", "p50"),
        "x",
    ),
    Target("connections of a worker with 2 children", 2, False, _best("connections", "idle", "idle", "amqtask")),
    Target("connections of a worker with 8 children", 2, False, _best("connections", "idle", "wide", "amqtask")),
    Target("idle worker with 2 children: PSS", 45, False, _best("pss", "idle", "idle", "amqtask"), " MB"),
    Target("first task done after start", 0.4, False, _best("first_task", "idle", "idle", "amqtask"), " s"),
)
