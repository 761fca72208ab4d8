"""``amqtask outbox``: the relay, and the rows that wait for it. Owns these commands."""

from __future__ import annotations

import dataclasses
import logging
import signal
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import click

from amqtask import logs
from amqtask.cli.command import FORCE_OPTION, JSON_OPTION, Group
from amqtask.cli.exits import DataError
from amqtask.cli.output import confirm, count, first_line, print_json, print_table, say
from amqtask.cli.process_options import ProcessOptions, process_options
from amqtask.cli.worker_options import FORMAT_OPTION, LEVEL_OPTION, chosen_settings, sets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.app.app import Amqtask
    from amqtask.cli.setup import Setup
    from amqtask.outbox.rows import Row
    from amqtask.outbox.store import Store

logger = logging.getLogger("amqtask.outbox")

_PROCESS = tuple(field.name for field in dataclasses.fields(ProcessOptions))
_URL_OPTION = sets(
    "outbox_url", "--url", metavar="URL", help="The database: db+<SQLAlchemy URL>, or a name in Django's DATABASES."
)
_IDS = click.argument("ids", metavar="[ID]...", nargs=-1, type=int)


@click.group("outbox", cls=Group, short_help="Send what transactions have committed; look at what waits.")
def outbox() -> None:
    """Tasks that are sent by a database transaction: app.outbox(...) writes them to a table, a relay publishes them."""


@outbox.command("create", short_help="Make the table.")
@_URL_OPTION
@click.pass_context
def create(context: click.Context) -> None:
    """Make the table amqtask_outbox, if it is missing. In a Django project "manage.py migrate" makes it."""
    with _store(context) as (_, store):
        store.create()
        print(f"Table amqtask_outbox is in {store.where}")


@outbox.command("relay", short_help="Publish what transactions have committed.")
@_URL_OPTION
@click.option(
    "--interval", type=click.FloatRange(min=0.01), default=0.25, show_default=True, metavar="SECONDS",
    help="Time between two looks at an empty table.",
)  # fmt: skip
@LEVEL_OPTION
@FORMAT_OPTION
@process_options
@click.pass_context
def relay(context: click.Context, /, interval: float, loglevel: str, logformat: Any, **given: Any) -> None:
    """Publish rows of the outbox and delete what is confirmed, until SIGTERM, SIGQUIT or Ctrl-C.

    Start as many as you like, on as many machines: one at a time has the rows, another goes on when it ends.
    """
    from amqtask.cli.daemon import Program  # noqa: PLC0415 -- --help needs none of it
    from amqtask.outbox.relay import Relay  # noqa: PLC0415
    from amqtask.worker.process.notify import notify  # noqa: PLC0415

    setup: Setup = context.obj
    process = ProcessOptions(**{name: given.pop(name) for name in _PROCESS})
    ended = SimpleQueue[None]()  # unlike an Event it may be told by a handler that interrupts who waits for it
    with Program(setup, process, _node()) as program:
        logs.configure_logging(loglevel, logformat, color=False if setup.no_color else None)
        with _store(context) as (app, store):
            from amqtask.app.outbox import deliver_each  # noqa: PLC0415

            logs.set_process_name("relay")
            producer = app.producer
            running = Relay(store, lambda messages: deliver_each(producer, messages), interval)
            ends = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
            previous = {number: signal.signal(number, lambda *_: ended.put(None)) for number in ends}
            program.started()
            program.ready()
            notify("READY=1")
            logger.info("Relay of %s ready, reading %s", app.main, store.where)
            try:
                running.run(lambda seconds: _is_told(ended, seconds))
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)
            logger.info("Relay of %s ended", app.main)


@outbox.command("list", short_help="Rows that wait.")
@_URL_OPTION
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="Show the first N only."
)
@JSON_OPTION
@click.pass_context
def list_(context: click.Context, limit: int, as_json: bool) -> None:
    """Show the rows that are not sent yet, in the order of their ids, and why those that have failed did."""
    with _store(context) as (_, store):
        rows = [_shown(row) for row in store.read(limit)]
        total = len(rows) if len(rows) < limit else store.count()
    if as_json:
        print_json(rows)
        return
    if not rows:
        print("The outbox is empty")
        return
    columns = ("row", "task", "id", "since", "attempts", "error")
    cells = [[*(row[name] for name in columns[:-1]), first_line(row["error"] or "", 80) or None] for row in rows]
    print_table(context.obj, columns, cells, ("row", "attempts"))
    if total > len(rows):
        say(context.obj, f"{len(rows)} of {total} shown")


@outbox.command("retry", short_help="Send rows that have failed again, now.")
@_URL_OPTION
@_IDS
@click.pass_context
def retry(context: click.Context, ids: tuple[int, ...]) -> None:
    """Have the relay try rows at once which would be tried later; without ID, all that have failed."""
    with _store(context) as (_, store):
        done = store.retry(ids)
    print(f"{count(len(done), 'row')} to be sent now")
    _complain(ids, done)


@outbox.command("drop", short_help="Throw rows away.")
@_URL_OPTION
@click.argument("ids", metavar="ID...", nargs=-1, type=int, required=True)
@FORCE_OPTION
@click.pass_context
def drop(context: click.Context, ids: tuple[int, ...], force: bool) -> None:
    """Throw rows away, for good: their tasks are never sent."""
    confirm(f"Throw away {count(len(ids), 'row')} of the outbox?", force)
    with _store(context) as (_, store):
        done = store.drop(ids)
    print(f"{count(len(done), 'row')} dropped")
    _complain(ids, done)


@contextmanager
def _store(context: click.Context) -> Iterator[tuple[Amqtask, Store]]:
    from amqtask.config.sources import Source  # noqa: PLC0415 -- --help needs none of it

    app = context.obj.load("app")
    if chosen := chosen_settings(context):
        app.configuration.update(chosen, Source.COMMAND_LINE)
    store = app.outbox_store()
    try:
        yield app, store
    finally:
        store.close()


def _shown(row: Row) -> dict[str, Any]:
    from datetime import UTC, datetime  # noqa: PLC0415 -- --help needs none of it

    from amqtask.errors import DecodeError  # noqa: PLC0415
    from amqtask.outbox.rows import message_of  # noqa: PLC0415
    from amqtask.wire.ids import born  # noqa: PLC0415

    task = task_id = since = None
    try:
        properties = message_of(row).properties
    except DecodeError:
        pass  # the relay has written, or will write, what is wrong
    else:
        task, task_id = (properties.headers or {}).get("task"), properties.correlation_id
        written = born(properties.message_id or "")
        since = None if written is None else datetime.fromtimestamp(written, UTC).isoformat(" ", "seconds")
    return {"row": row.id, "task": task, "id": task_id, "since": since, "attempts": row.attempts, "error": row.error}


def _complain(ids: tuple[int, ...], done: list[int]) -> None:
    if missing := [str(wanted) for wanted in ids if wanted not in done]:
        raise DataError(f"not in the outbox: {', '.join(missing)}")


def _is_told(ended: SimpleQueue[None], seconds: float) -> bool:
    try:
        ended.get(timeout=seconds)
    except Empty:
        return False
    return True


def _node() -> str:
    import socket  # noqa: PLC0415 -- --help needs none of it

    return f"relay@{socket.gethostname()}"


COMMAND = outbox
