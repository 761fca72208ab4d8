"""Results as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.targets import TARGETS

if TYPE_CHECKING:
    from harness.store import Store

_COLUMNS = {
    "enqueue": {
        "rate": "messages/s",
        "cpu10k": "CPU10k",
        "broker10k": "broker CPU10k",
        "raw": "rate to raw pika",
    },
    "drain": {
        "rate": "tasks/s",
        "cpu10k": "CPU10k",
        "broker10k": "broker CPU10k",
        "pss": "PSS, MB",
        "other_cores": "other load, cores",
        "raw": "rate to raw pika",
        "celery": "to best Celery",
        "dramatiq": "to best Dramatiq",
    },
    "latency": {"p50": "p50, ms", "p95": "p95, ms", "p99": "p99, ms"},
    "idle": {
        "first_task": "first task, s",
        "pss": "PSS, MB",
        "cpu_percent": "CPU, %",
        "processes": "processes",
        "connections": "connections",
    },
}
_RATIOS = ("raw", "celery", "dramatiq")
_DIGITS = {"rate": 0, "p50": 2, "p95": 2, "p99": 2, "pss": 1, "processes": 0, "connections": 0}


def markdown(store: Store) -> str:
    """The session, the targets, and a table per measure."""
    parts = [_session(store.session), _targets(store.rows)]
    parts += [_table(measure, store.rows) for measure in _COLUMNS]
    return "\n\n".join(part for part in parts if part) + "\n"


def _session(session: dict[str, Any]) -> str:
    if not session:
        return "Nothing measured yet."
    packages = ", ".join(f"{name} {version}" for name, version in session["packages"].items())
    return (
        f"Measured {session['date']} at commit `{session['commit']}`: {session['cpu']}, "
        f"{session['cores']} cores, {session['memory_gib']} GiB, {session['system']}, {session['python']}, "
        f"RabbitMQ {session['rabbitmq']} on the same cores; {packages}."
    )


def _targets(rows: dict[str, Any]) -> str:
    lines = []
    for target in TARGETS:
        figure = target.figure(rows)
        shown = "" if figure is None else f"{figure:.3g}{target.unit}"
        bound = f"{'>=' if target.at_least else '<='} {target.wanted:g}{target.unit}"
        lines.append([target.text, bound, shown, target.verdict(figure)])
    return "### Targets\n\n" + _grid(["what", "wanted", "reached", ""], lines)


def _table(measure: str, rows: dict[str, Any]) -> str:
    chosen = [row for row in rows.values() if row["measure"] == measure]
    if not chosen:
        return ""
    columns = _COLUMNS[measure]
    lines = [
        [row["peer"], row["name"], *(_cell(column, row, chosen) for column in columns), *_origin(row)]
        for row in sorted(chosen, key=lambda row: (row["settings"].get("queue_type"), row["contest"], row["peer"]))
    ]
    return f"### {measure.capitalize()}\n\n" + _grid(["peer", "how", *columns.values(), "runs", "commit"], lines)


def _origin(row: dict[str, Any]) -> tuple[str, str]:
    return str(len(row["runs"])), f"`{row['commit']}`"


def _cell(column: str, row: dict[str, Any], chosen: list[dict[str, Any]]) -> str:
    if column in _RATIOS:
        return _ratio(column, row, chosen)
    values = [run[column] for run in row["runs"] if run.get(column) is not None]
    if not values:
        return ""
    digits = _DIGITS.get(column, 2)
    median = f"{row['median'][column]:,.{digits}f}"
    if len(values) == 1 or min(values) == max(values):
        return median
    return f"{median} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _ratio(peer: str, row: dict[str, Any], chosen: list[dict[str, Any]]) -> str:
    """To the best row of the peer in the same contest, on the same type of queue."""
    same = ("contest",) if row["contest"] else ("measure",)
    rivals = [
        other["median"]["rate"]
        for other in chosen
        if other["peer"] == peer
        and all(other[name] == row[name] for name in same)
        and other["settings"]["queue_type"] == row["settings"]["queue_type"]
    ]
    if row["peer"] != "amqtask" or not rivals:
        return ""
    return f"{row['median']['rate'] / max(rivals):.2f}x"


def _grid(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
