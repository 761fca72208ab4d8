"""The screen of ``amqtask top``: workers above, the latest tasks below. Owns its looks, and the thread that receives.

The one module that imports textual.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App
from textual.widgets import DataTable, Footer, Header, Static

from amqtask.errors import AmqtaskError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from amqtask.app.app import Amqtask
    from amqtask.events.nodes import Task, Worker
    from amqtask.events.state import State

_COLOURS = {"SUCCESS": "green", "FAILURE": "red", "DEAD": "red", "RETRY": "yellow", "STARTED": "cyan", "REVOKED": "dim"}
_TASKS = 200
_CONNECTING = 3.0


class TopView(App[None]):
    """Shows the state of a cluster, and keeps it up to date.

    Args:
        app: whose workers are watched.
        interval: seconds between two looks.
    """

    TITLE = "amqtask top"
    CSS = """
    #summary { height: 1; padding: 0 1; color: $text-muted; }
    #workers { height: auto; max-height: 40%; margin-bottom: 1; }
    #tasks { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "Quit"), ("p", "hold", "Pause"), ("c", "clear", "Clear")]

    def __init__(self, app: Amqtask, interval: float = 1.0) -> None:
        super().__init__()
        self._watched, self._interval = app, interval
        self.state: State = app.events.State(max_tasks_in_memory=2000)
        self._held = False
        self.failure: AmqtaskError | None = None
        """Why nothing can be received."""

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Header(show_clock=True)
        yield Static(id="summary")
        yield DataTable(id="workers", cursor_type="none", zebra_stripes=True)
        yield DataTable(id="tasks", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to receive and to draw."""
        self.query_one("#workers", DataTable).add_columns("Worker", "State", "Active", "Done", "Load", "Software")
        self.query_one("#tasks", DataTable).add_columns("Task", "Id", "State", "Worker", "Time", "Runtime", "Info")
        threading.Thread(target=self._receive, name="amqtask-receiver", daemon=True).start()
        self.set_interval(self._interval, self.draw)
        self.draw()

    def action_hold(self) -> None:
        """Stop drawing, or go on."""
        self._held = not self._held
        self.sub_title = "paused" if self._held else ""

    def action_clear(self) -> None:
        """Forget tasks that have ended."""
        self.state.clear_tasks()
        self.draw()

    def draw(self) -> None:
        """Show the state as it is now."""
        if self.failure is not None:
            self.exit()
        elif not self._held:
            self.state.freeze_while(self._fill)

    def _fill(self) -> None:
        state = self.state
        workers = sorted(state.workers.values(), key=lambda worker: worker.hostname)
        alive = sum(worker.alive for worker in workers)
        summary = (
            f"{alive} of {len(workers)} workers online, {state.task_count} tasks received, {state.event_count} events"
        )
        self.query_one("#summary", Static).update(summary)
        _replace(self.query_one("#workers", DataTable), map(_worker_row, workers))
        _replace(self.query_one("#tasks", DataTable), (_task_row(task) for _, task in state.tasks_by_time(_TASKS)))

    def _receive(self) -> None:
        try:
            with self._watched.connection() as connection:
                connection.connect(_CONNECTING)
                self._watched.events.Receiver(connection, {"*": self.state.event}).capture()
        except AmqtaskError as error:
            self.failure = error


def _replace(table: DataTable[object], rows: Iterable[list[object]]) -> None:
    place = table.scroll_y
    table.clear()
    for row in rows:
        table.add_row(*row)
    table.scroll_y = place


def _worker_row(worker: Worker) -> list[object]:
    online = Text("online", "green") if worker.alive else Text("offline", "red")
    load = " ".join(str(one) for one in worker.loadavg) if isinstance(worker.loadavg, list) else "-"
    return [
        Text(worker.hostname),
        online,
        _shown(worker.active),
        _shown(worker.processed),
        Text(load),
        Text(f"{worker.sw_ident or '-'} {worker.sw_ver or ''}"),
    ]


def _task_row(task: Task) -> list[object]:
    seconds: object = task.timestamp  # as an event says, which anybody may have sent
    when = datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S") if isinstance(seconds, float) else "-"
    runtime = f"{task.runtime:.3f} s" if isinstance(task.runtime, float) else ""
    info = task.exception or task.result or f"{task.args or ''} {task.kwargs or ''}"
    return [
        Text(str(task.name or "-")),
        Text(task.uuid),
        Text(str(task.state), _COLOURS.get(str(task.state), "")),
        Text("-" if task.worker is None else task.worker.hostname),
        Text(when),
        Text(runtime, justify="right"),
        Text(str(info)[:60]),
    ]


def _shown(value: object) -> Text:
    return Text("-" if value is None else str(value), justify="right")
