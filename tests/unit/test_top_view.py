"""The screen of `amqtask top`, drawn without a terminal."""

from __future__ import annotations

import asyncio

from textual.widgets import DataTable

from amqtask import Amqtask
from amqtask.cli.top_view import TopView

EVENTS = [
    {"type": "worker-heartbeat", "hostname": "w1@here", "freq": 2.0, "active": 1, "processed": 7, "loadavg": [1, 2, 3]},
    {
        "type": "task-received",
        "hostname": "w1@here",
        "uuid": "a",
        "name": "add",
        "parent_id": [],
        "args": "(1,)",
        "kwargs": "{}",
    },
    {"type": "task-received", "hostname": "w1@here", "uuid": "b", "name": "[bold]odd", "args": "(2,)", "kwargs": "{}"},
    {"type": "worker-heartbeat", "hostname": "odd", "loadavg": ["high"], "active": [], "processed": {}, "freq": "x"},
    {"type": "task-failed", "hostname": "w1@here", "uuid": "b", "exception": "ValueError('no')"},
]


class Still(TopView):
    """Receives nothing by itself."""

    def _receive(self):
        for tick, event in enumerate(EVENTS):
            self.state.event({**event, "clock": tick, "timestamp": 1.0, "local_received": 1.0})


def cells(view, name):
    table = view.query_one(name, DataTable)
    return [[str(cell) for cell in table.get_row_at(row)] for row in range(table.row_count)]


def test_workers_and_the_latest_tasks_are_shown_and_can_be_cleared():
    async def look():
        view = Still(Amqtask("shown"), interval=0.01)
        async with view.run_test() as pilot:
            while view.state.event_count != len(EVENTS):
                await pilot.pause()
            view.draw()
            assert [row[0] for row in cells(view, "#workers")] == ["odd", "w1@here"]
            assert cells(view, "#workers")[1][2:4] == ["1", "7"]
            tasks = cells(view, "#tasks")
            assert [(row[0], row[2], row[6]) for row in tasks] == [
                ("[bold]odd", "FAILURE", "ValueError('no')"),
                ("add", "RECEIVED", "(1,) {}"),
            ]
            await pilot.press("c")
            assert [row[0] for row in cells(view, "#tasks")] == ["add"]
            await pilot.press("q")

    asyncio.run(look())
