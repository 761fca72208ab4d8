#!/usr/bin/env python3
"""Removes from a broker what the demo created there: what the plan before it calls "create"."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from amqtask.broker.admin import Admin
from examples.files.tasks import app


def main(plan: Path) -> None:
    created = [item for item in json.loads(plan.read_text())["items"] if item["action"] == "create"]
    with Admin(app.broker_urls, app.connection_options) as admin:
        for item in created:
            if item["kind"] == "queue":
                admin.delete_queue(item["name"])
            else:
                admin.delete_exchange(item["name"])
    print(f"removed {len(created)} objects from the broker")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
