"""``amqtask call``: send a task from the shell, or thousands from a file."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.command import Command
from amqtask.cli.exits import DataError
from amqtask.cli.worker_options import read_seconds
from amqtask.errors import PartialPublish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from amqtask.app.app import Amqtask
    from amqtask.cli.setup import Setup
    from amqtask.tasks.sender import Call

_WINDOW = 500
"""Lines that are sent together."""


def _json_of(kind: type, what: str) -> Any:
    def read(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
        if value is None:
            return kind()
        try:
            found = json.loads(value)
        except ValueError as error:
            raise click.BadParameter(f"not JSON: {error}") from None
        if not isinstance(found, kind):
            raise click.BadParameter(f"must be a JSON {what}")
        return found

    return read


def _moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    try:
        return None if value is None else datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time; write for example 2026-11-21T10:00:00+01:00") from None


def _moment_or_seconds(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> datetime | float | None:
    if value is not None and "-" in value:
        return _moment(context, parameter, value)
    return read_seconds(context, parameter, value)


@click.command("call", cls=Command, short_help="Send a task.")
@click.argument("name")
@click.option("-a", "--args", "arguments", metavar="JSON", callback=_json_of(list, "list"), help="Arguments: '[1, 2]'.")
@click.option(
    "-k", "--kwargs", "keywords", metavar="JSON", callback=_json_of(dict, "object"),
    help="Keyword arguments: '{\"x\": 1}'.",
)  # fmt: skip
@click.option("--countdown", metavar="SECONDS", callback=read_seconds, help="Start it this much later; or 1m30s.")
@click.option("--eta", metavar="TIME", callback=_moment, help="Start it at this time (ISO 8601).")
@click.option(
    "--expires",
    metavar="WHEN",
    callback=_moment_or_seconds,
    help="Don't start it later than this: seconds, or a time.",
)
@click.option("--priority", type=click.IntRange(0, 9), help="0 to 9; 9 goes first.")
@click.option("--queue", metavar="QUEUE", help="Send it to this queue, whatever the routes say; or")
@click.option("--exchange", metavar="EXCHANGE", help="send it to this exchange,")
@click.option("--routing-key", metavar="KEY", help="with this key.")
@click.option("--serializer", metavar="NAME", help="msgpack, json or yaml.  [setting: task_serializer]")
@click.option(
    "--stdin", "bulk", is_flag=True,
    help="One call per line of standard input: '{\"args\": [], \"kwargs\": {}}', or just the list.",
)  # fmt: skip
@click.pass_obj
def call(
    setup: Setup, /, name: str, arguments: list[Any], keywords: dict[str, Any], bulk: bool, **options: Any
) -> None:
    """Send the task NAME and print its id, once the broker has confirmed it.

    \b
    amqtask call shop.add -a '[1, 2]'
    amqtask call shop.report -k '{"month": 11}' --countdown 10m --queue slow
    amqtask call shop.resize --stdin < calls.jsonl
    """  # noqa: D301 -- click reads \b as "keep these lines"
    app = setup.load("nothing")
    if setup.app_path:
        app.load_tasks()
    given = {key: value for key, value in options.items() if value is not None}
    if not bulk:
        print(_send_one(app, name, arguments, keywords, given))
        return
    if arguments or keywords:
        raise click.UsageError("With --stdin the arguments come from the lines; leave out -a and -k.")
    if timed := [key for key in ("countdown", "eta") if key in given]:
        raise click.UsageError(f"--{timed[0]} can't be used with --stdin.")
    _send_lines(app, name, given)


def _send_one(app: Amqtask, name: str, arguments: list[Any], keywords: dict[str, Any], options: dict[str, Any]) -> str:
    try:
        return app.send_task(name, arguments, keywords, **options).id
    except TypeError as error:  # the task is declared here, and can't be called like this
        raise DataError(str(error)) from None


def _send_lines(app: Amqtask, name: str, options: dict[str, Any]) -> None:
    """Send the lines of stdin window by window; a bad line ends it, and everything before it is sent."""
    from amqtask.tasks.options import TaskOptions, check_destination  # noqa: PLC0415

    check_destination(options.get("queue"), options.get("exchange"), options.get("routing_key"))
    task = app.tasks.get(name)
    defaults = replace(task.options if task is not None else TaskOptions(), **options)
    sent = 0
    check = task.check_arguments if task is not None else None
    calls = _read_calls(sys.stdin, check)
    while True:
        window, problem = _take(calls)
        try:
            ids = [result.id for result in app.producer.send_many(name, defaults, window)]
        except PartialPublish as error:
            print("\n".join(task_id for index, task_id in enumerate(error.ids) if index not in error.errors))
            raise
        sent += len(ids)
        if ids:
            print("\n".join(ids), flush=True)
        if problem is not None:
            raise DataError(f"{problem}; {sent} sent before it")
        if len(window) < _WINDOW:
            return


def _take(calls: Iterator[Call]) -> tuple[list[Call], DataError | None]:
    window: list[Call] = []
    try:
        for one in islice(calls, _WINDOW):
            window.append(one)  # noqa: PERF402 -- what came before a bad line must be kept
    except DataError as problem:
        return window, problem
    return window, None


def _read_calls(lines: Iterable[str], check: Callable[..., None] | None) -> Iterator[Call]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        args, kwargs = _read_call(number, line)
        try:
            if check is not None:
                check(*args, **kwargs)
        except TypeError as error:
            raise DataError(f"line {number}: {error}") from None
        yield args, kwargs


def _read_call(number: int, line: str) -> Call:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DataError(f"line {number} is not JSON: {error}") from None
    if isinstance(value, list):
        return value, {}
    if isinstance(value, dict) and not value.keys() - {"args", "kwargs"}:
        args, kwargs = value.get("args", []), value.get("kwargs", {})
        if isinstance(args, list) and isinstance(kwargs, dict):
            return args, kwargs
    raise DataError(f'line {number} must be a list of arguments, or {{"args": [...], "kwargs": {{...}}}}')


COMMAND = call
