"""Periodic tasks as rows of a table: what each column says, and what is written there. Owns the form of a row.

A row is readable and can be written by hand: its columns have the names of an entry's keys, arguments and options are
JSON, times are texts as in routing.yaml. NULL, and an empty text, says nothing. A row whose name the program declares
changes that entry; what it does not say stays as declared.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from amqtask.durations import format_duration, parse_duration
from amqtask.errors import ConfigError
from amqtask.schedules.entry import read_entry, spec_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from amqtask.schedules.entry import Entry

TABLE: Final = "amqtask_schedules"
COLUMNS: Final = (
    "task", "schedule", "tz", "args", "kwargs", "options", "jitter", "catchup", "deadline", "overlap",
    "overlap_timeout", "enabled",
)  # fmt: skip
"""Of an entry, beside its name."""

_JSON = ("args", "kwargs", "options")


def read_row(name: str, row: Mapping[str, Any], declared: Entry | None, home: tzinfo) -> tuple[dict[str, Any], Entry]:
    """What a row means.

    Args:
        name: of the entry.
        row: some of :data:`COLUMNS`, as a database gives them.
        declared: the program's entry of this name.
        home: zone of schedules that name none.

    Returns:
        What the row says, as plain values that :func:`read_entry` reads, and the entry that is in force by it.

    Raises:
        ConfigError: says which row and which column is wrong.
    """
    where = f"table {TABLE}"
    own = None if declared is None else declared.tz
    try:
        said = _said(row)
        entry = read_entry(name, said if declared is None else {**spec_of(declared), **said}, own or home, where)
    except (ConfigError, RecursionError, OverflowError) as error:
        text = str(error).removeprefix(place := f"{where}: periodic task {name!r}: ")
        raise ConfigError(place + text) from None
    if said.pop("tz", None) is not None or (own is not None and "schedule" in said):
        said["schedule"] = spec_of(entry)["schedule"]  # with the zone in each
    return said, entry


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    said = {key: _value(key, value) for key, value in row.items() if value is not None and value != ""}
    if "tz" in said and "schedule" not in said:
        raise ConfigError("'tz' without 'schedule': write the schedule into the row too")
    return said


def _value(key: str, value: Any) -> Any:
    if key == "enabled":
        if value not in (0, 1):
            raise ConfigError(f"'enabled' must be 1 or 0, or a boolean, not {value!r}")
        return bool(value)
    if not isinstance(value, str):
        raise ConfigError(f"{key!r} must be a text, not {value!r}")
    if key in _JSON:
        return _json(key, value)
    return _schedule(value.strip()) if key == "schedule" else value.strip()


def _json(key: str, text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError as error:
        example = '["a", 1]' if key == "args" else '{"a": 1}'
        raise ConfigError(f"{key!r} is not JSON ({error}): {text!r}; write for example {example}") from None


def _schedule(text: str) -> Any:
    if text.startswith(("{", "[")):
        return _json("schedule", text)
    try:
        return float(text)  # seconds
    except ValueError:
        return text


def row_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that say this.

    Args:
        said: some keys of what :func:`spec_of` gives.

    Raises:
        TypeError, ValueError: JSON can't carry a value.
    """
    row: dict[str, Any] = {}
    for key, value in said.items():
        if key == "schedule":
            row["schedule"], row["tz"] = _written(value)
        elif key in _JSON:
            row[key] = json.dumps(value, allow_nan=False)
        elif key == "jitter" or (key in ("deadline", "overlap_timeout") and value is not None):
            row[key] = format_duration(timedelta(seconds=value or 0))
        else:
            row[key] = value
    return row


def _written(specs: list[dict[str, Any]]) -> tuple[str, str | None]:
    only = specs[0] if len(specs) == 1 else {}
    if set(only) == {"every"}:
        text = format_duration(every := parse_duration(only["every"]))
        if parse_duration(text) == every:
            return text, None
    if "cron" in only:
        return only["cron"], only.get("tz")
    return json.dumps(only or specs), None
