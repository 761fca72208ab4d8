"""``amqtask events``: what workers tell, as it comes; or pictures of it, by a camera of the user's."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.command import Command
from amqtask.cli.worker_options import read_seconds
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.cli.setup import Setup

_CONNECTING = 3.0
"""Seconds to find the broker; once it was there, a receiver waits for it for ever."""

_HIDDEN = frozenset({"type", "hostname", "timestamp", "local_received", "utcoffset", "pid", "clock", "traceback"})


@click.command("events", cls=Command, short_help="Print what workers tell.")
@click.option("-d", "--dump", is_flag=True, help="Print each event. It is what happens anyway, without a camera.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@click.option("-c", "--camera", metavar="CLASS", help="A subclass of amqtask.events.snapshot.Polaroid.")
@click.option(
    "-F",
    "--frequency",
    "--freq",
    metavar="SECONDS",
    default="1",
    callback=read_seconds,
    show_default=True,
    help="Time between two pictures.",
)
@click.option("-r", "--maxrate", metavar="RATE", help="At most this many pictures: 10/m, 1/s.")
@click.option("--limit", type=click.IntRange(1), help="End after this many events.")
@click.pass_obj
def events(
    setup: Setup,
    dump: bool,  # noqa: ARG001 -- Celery's word for what is done without it
    as_json: bool,
    camera: str | None,
    frequency: float,
    maxrate: str | None,
    limit: int | None,
) -> None:
    """Print the events of all workers as they come, until Ctrl-C. Task events come from workers started with -E.

    \b
    amqtask events --dump
    amqtask -A proj events --camera proj.cameras:Store --freq 2
    """  # noqa: D301 -- click reads \b as "keep these lines"
    app = setup.load("nothing")
    if camera is not None:
        _photograph(app, camera, frequency, _shortest(maxrate), limit)
        return
    with app.connection() as connection:
        connection.connect(_CONNECTING)
        app.events.Receiver(connection, {"*": _print_json if as_json else _print}).capture(limit=limit)


def _photograph(app: Amqtask, path: str, frequency: float, shortest: float, limit: int | None) -> None:
    from amqtask.events.snapshot import Polaroid  # noqa: PLC0415 -- --help needs none of it
    from amqtask.symbols import import_module  # noqa: PLC0415

    module, _, name = path.replace(":", ".").rpartition(".")
    if not module:
        raise ConfigError(f"--camera {path}: write MODULE:CLASS")
    found = getattr(import_module(module), name, None)
    if not isinstance(found, type) or not issubclass(found, Polaroid):
        raise ConfigError(f"--camera {path}: that is not a subclass of amqtask.events.snapshot.Polaroid")
    state = app.events.State()
    with app.connection() as connection, found(state, frequency, shortest):
        connection.connect(_CONNECTING)
        app.events.Receiver(connection, {"*": state.event}).capture(limit=limit)


def _shortest(rate: str | None) -> float:
    """Seconds between two of a rate; 0 without one."""
    from amqtask.tasks.limits import parse_rate  # noqa: PLC0415 -- --help needs none of it

    limit = parse_rate(rate or 0)
    return 1 / limit.per_second if limit else 0.0


def _print(event: dict[str, Any]) -> None:
    when = event.get("timestamp")
    time = datetime.fromtimestamp(when).astimezone().strftime("%H:%M:%S.%f")[:-3] if isinstance(when, float) else "-"
    said = " ".join(f"{key}={value}" for key, value in event.items() if key not in _HIDDEN and value is not None)
    print(f"{time} {event.get('hostname')} {event['type']} {said}".rstrip(), flush=True)


def _print_json(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


COMMAND = events
