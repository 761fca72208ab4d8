"""``amqtask result``: what became of a task, now or once it has ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.command import JSON_OPTION, Command
from amqtask.cli.exits import OK, TASK_FAILED, DataError
from amqtask.cli.output import first_line, print_json
from amqtask.cli.worker_options import read_seconds
from amqtask.errors import ConfigError
from amqtask.results.states import EXPIRED, PROPAGATE_STATES, READY_STATES, UNKNOWN

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup
    from amqtask.results.future import AsyncResult
    from amqtask.results.meta import Meta


@click.command("result", cls=Command, short_help="Show what became of a task.")
@click.argument("task_id", metavar="ID")
@click.option("-w", "--watch", is_flag=True, help="Wait for its end, and print every change until then.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    callback=read_seconds,
    help="Watch no longer than this; or 1m30s.  [default: for ever]",
)
@JSON_OPTION
@click.pass_obj
def result(setup: Setup, task_id: str, watch: bool, timeout: float | None, as_json: bool) -> int:
    """Show the state of the task ID, what it returned or why it failed.

    Exits with 1 if it has failed, was revoked or is dead; with 65 if nothing is stored of it and nothing will be.

    \b
    amqtask result 019aa3a2-7c1e-7000-8000-000000000000
    amqtask result --watch --timeout 5m $(amqtask call shop.report)
    """  # noqa: D301 -- click reads \b as "keep these lines"
    if timeout is not None and not watch:
        raise click.UsageError("--timeout is for --watch.", click.get_current_context())
    app = setup.load("nothing")
    if app.results.backend.by_message:
        raise ConfigError(
            "results of rpc:// reach only the process that has sent the task; for others to see them, use a backend "
            "that stores them, such as redis:// or db+sqlite://"
        )
    try:
        handle = app.AsyncResult(task_id)
        if watch:
            _watch(handle, timeout, quiet=as_json)
        return _show(handle, handle.meta, as_json=as_json)
    finally:
        app.results.close()


def _watch(handle: AsyncResult[Any], timeout: float | None, *, quiet: bool) -> None:
    shown: list[str] = []

    def change(document: dict[str, Any]) -> None:
        state, value = document["status"], document["result"]
        line = f"{state:<9} {'' if value is None else first_line(_json(value))}".rstrip()
        if state not in READY_STATES and shown[-1:] != [line]:
            shown.append(line)
            print(line, flush=True)

    handle.get(timeout, propagate=False, follow_parents=False, on_message=None if quiet else change)


def _show(handle: AsyncResult[Any], meta: Meta, *, as_json: bool) -> int:
    if as_json:
        print_json(meta.as_dict())
    else:
        for name, value in _facts(handle, meta):
            print(f"{name:<9} {value}")
        if meta.traceback:
            print(f"\n{meta.traceback.rstrip()}")
    if meta.status in (EXPIRED, UNKNOWN):
        raise DataError(f"nothing is stored of task {meta.task_id}")
    return TASK_FAILED if meta.status in PROPAGATE_STATES else OK


def _facts(handle: AsyncResult[Any], meta: Meta) -> list[tuple[str, str]]:
    failed = isinstance(value := handle.result, BaseException)
    facts: list[tuple[str, Any]] = [
        ("id", meta.task_id),
        ("task", meta.name),
        ("state", meta.status),
        ("error", f"{type(value).__name__}: {value}" if failed else None),
        ("result", _json(meta.result) if not failed and (meta.final or meta.result is not None) else None),
        ("ended", meta.date_done),
        ("runtime", None if meta.runtime is None else f"{meta.runtime:.3f} s"),
        ("retries", meta.retries or None),
        ("queue", meta.queue),
        ("worker", meta.worker),
        ("group", meta.group_id),
        ("parent", meta.parent_id),
        ("children", " ".join(child.id for child in handle.children)),
    ]
    return [(name, str(shown)) for name, shown in facts if shown not in (None, "")]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


COMMAND = result
