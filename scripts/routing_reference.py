#!/usr/bin/env python3
"""Writes what follows from the table of routing.yaml's keys: the JSON Schema and the reference page's tables.

Run it after a change of amqtask/topology/schema.py; a test fails while the files are out of date.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from amqtask.topology import periodic, schema

if TYPE_CHECKING:
    from amqtask.topology.records import Record

ROOT = Path(__file__).resolve().parent.parent
SCHEMA_FILE = ROOT / "docs" / "reference" / "routing.schema.json"
PAGE_FILE = ROOT / "docs" / "reference" / "routing.md"

RECORDS: dict[str, Record] = {
    "document": schema.DOCUMENT,
    "exchange": schema.EXCHANGE,
    "queue": schema.QUEUE,
    "binding": schema.BINDING,
    "retry": schema.RETRY,
    "backoff": schema.BACKOFF,
    "dead_letter": schema.DEAD_LETTER,
    "route": schema.ROUTE,
    "pool": schema.POOL,
    "periodic": periodic.PERIODIC,
    "solar": periodic.SOLAR,
}

_TABLE = re.compile(r"(<!-- keys of (\w+) -->\n).*?(<!-- end of keys -->)", re.DOTALL)


def schema_text() -> str:
    """The schema file's content."""
    return json.dumps(schema.json_schema(), indent=2) + "\n"


def page_text(page: str) -> str:
    """The reference page with its tables made anew."""
    return _TABLE.sub(lambda match: match[1] + _table(RECORDS[match[2]]) + match[3], page)


def _table(record: Record) -> str:
    rows = ["| key | holds | meaning | default |", "|---|---|---|---|"]
    for name, key in record.keys.items():
        default = "(required)" if key.required else key.default
        cells = (f"`{name}`", key.kind.expected, key.doc, default)
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write both files."""
    SCHEMA_FILE.write_text(schema_text())
    PAGE_FILE.write_text(page_text(PAGE_FILE.read_text()))


if __name__ == "__main__":
    main()
