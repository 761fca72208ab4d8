"""``amqtask dead``: the messages that failed for good."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.broker import open_admin
from amqtask.cli.command import FORCE_OPTION, JSON_OPTION, Group
from amqtask.cli.exits import DataError
from amqtask.cli.output import confirm, count, first_line, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.app.app import Amqtask
    from amqtask.app.dead import DeadLetters, DeadMessage
    from amqtask.cli.setup import Setup

_FIELDS = ("id", "task", "reason", "exception", "message", "worker", "attempts", "first_time", "last_time")


@click.group("dead", cls=Group, short_help="Look at failed messages; retry or drop them.")
def dead() -> None:
    """Work with the messages that failed for good.

    QUEUE is always the queue in which they failed; they are kept in QUEUE.dead.
    """


@dead.command("list", short_help="Failed messages of a queue, oldest first.")
@click.argument("queue")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show the oldest N only.")
@JSON_OPTION
@click.pass_obj
def list_(setup: Setup, queue: str, limit: int | None, as_json: bool) -> None:
    """Show the messages that failed in QUEUE, oldest first.

    They are taken from QUEUE.dead and put back, which is the only way AMQP has to look at a queue.
    """
    with _dead_letters(setup, queue) as (_, letters):
        total = len(letters)
        rows = [_summary(message) for message in letters.read(limit)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        print(f"No dead letters in {queue}")
        return
    columns = ("id", "task", "reason", "error", "attempts", "last time")
    print_table(setup, columns, [_row(row) for row in rows], ("attempts",))
    if total > len(rows):
        say(setup, f"{len(rows)} of {total} shown")


@dead.command("show", short_help="All that is known of one failed message.")
@click.argument("queue")
@click.argument("message_id", metavar="ID")
@JSON_OPTION
@click.pass_obj
def show(setup: Setup, queue: str, message_id: str, as_json: bool) -> None:
    """Show the message ID that failed in QUEUE: arguments, error, traceback and headers."""
    with _dead_letters(setup, queue) as (app, letters):
        found = letters.find(message_id)
        if found is None:
            raise _missing(letters, [message_id])
        document = _details(found, app)
    if as_json:
        print_json(document)
        return
    for key in (*_FIELDS, "args", "kwargs", "body", "content_type"):
        if document.get(key) is not None:
            print(f"{key.replace('_', ' ').capitalize() + ':':<14}{document[key]}")
    print("Headers:")
    for name, value in sorted(document["headers"].items()):
        print(f"  {name}: {first_line(str(value), 200)}")
    if found.traceback:
        print(f"Traceback:\n{found.traceback.rstrip()}")


@dead.command("retry", short_help="Run failed messages again.")
@click.argument("queue")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.pass_obj
def retry(setup: Setup, queue: str, ids: tuple[str, ...]) -> None:
    """Put messages back into QUEUE, with a fresh count of retries; without ID, all that failed there.

    A replayed message has no expiry and no eta any more. It leaves QUEUE.dead only when QUEUE has confirmed
    it.
    """
    with _dead_letters(setup, queue) as (_, letters):
        done = letters.retry(frozenset(ids))
        print(f"{count(len(done), 'message')} put back into {queue}")
        _complain(letters, ids, done)


@dead.command("drop", short_help="Throw failed messages away.")
@click.argument("queue")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@FORCE_OPTION
@click.pass_obj
def drop(setup: Setup, queue: str, ids: tuple[str, ...], force: bool) -> None:
    """Throw away messages that failed in QUEUE, for good; without ID all of them, after asking."""
    with _dead_letters(setup, queue) as (_, letters):
        if not ids and (waiting := len(letters)):
            confirm(f"Throw away {count(waiting, 'dead letter')} of {queue}?", force)
        done = letters.drop(frozenset(ids))
        print(f"{count(len(done), 'message')} dropped from {letters.name}")
        _complain(letters, ids, done)


@contextmanager
def _dead_letters(setup: Setup, queue: str) -> Iterator[tuple[Amqtask, DeadLetters]]:
    from amqtask.app.dead import DeadLetters  # noqa: PLC0415 -- --help needs none of it
    from amqtask.topology.delays import DEAD_SUFFIX  # noqa: PLC0415
    from amqtask.wire.signing import Signer  # noqa: PLC0415

    app = setup.load()
    # the name of the dead-letter queue itself is what people copy from a management UI
    name = queue if queue in app.topology.queues else queue.removesuffix(DEAD_SUFFIX)
    app.topology.queue(name)
    with open_admin(app) as admin:
        yield app, DeadLetters(admin, name, Signer(app.settings))


def _complain(letters: DeadLetters, ids: tuple[str, ...], done: list[str]) -> None:
    if missing := [wanted for wanted in ids if wanted not in done]:
        raise _missing(letters, missing)


def _missing(letters: DeadLetters, ids: list[str]) -> DataError:
    return DataError(f"not in {letters.name}: {', '.join(ids)}")


def _summary(message: DeadMessage) -> dict[str, Any]:
    return {name: getattr(message, name) for name in _FIELDS}


def _row(row: dict[str, Any]) -> list[object]:
    error = ": ".join(part for part in (row["exception"], row["message"]) if part)
    last = row["last_time"]
    return [
        row["id"],
        row["task"],
        row["reason"],
        first_line(error, 60) or None,
        row["attempts"],
        None if last is None else last[:19].replace("T", " "),
    ]


def _details(message: DeadMessage, app: Amqtask) -> dict[str, Any]:
    call = message.call(app.settings.accept_content, app.settings.broker_max_message_size)
    document = {
        **_summary(message),
        "content_type": message.properties.content_type,
        "traceback": message.traceback,
        "headers": {key: value for key, value in message.headers.items() if key != "x-amqtask-traceback"},
    }
    if isinstance(call, str):
        document["body"] = f"{message.body[:200]!r}{'...' if len(message.body) > 200 else ''} ({call})"  # noqa: PLR2004
    else:
        document["args"], document["kwargs"] = list(call[0]), call[1]
    return document


COMMAND = dead
