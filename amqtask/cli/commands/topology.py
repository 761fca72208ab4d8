"""``amqtask topology``: what is declared, what the broker has, and making the two agree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.broker import open_admin
from amqtask.cli.command import JSON_OPTION, Group
from amqtask.cli.output import count, print_json, print_table, say
from amqtask.errors import BrokerUnavailable, ConfigError, DocumentError, Problem, TopologyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amqtask.app.app import Amqtask
    from amqtask.broker.admin import Admin
    from amqtask.cli.setup import Setup
    from amqtask.topology.declarations import Step, Version
    from amqtask.topology.model import Topology
    from amqtask.topology.plan import Plan

_APPLY = "'amqtask topology apply' makes them"
_VERSION_FOR_EXPORT = (4, 0)


@click.group("topology", cls=Group, short_help="Check, compare and apply exchanges and queues.")
def topology() -> None:
    """Work with the exchanges, queues and routes that the routing file (or the app) declares."""


@topology.command("check", short_help="Is the declaration right, and does the broker agree?")
@click.option("--offline", is_flag=True, help="Don't ask the broker.")
@JSON_OPTION
@click.pass_obj
def check(setup: Setup, offline: bool, as_json: bool) -> None:
    """Check the declaration, and compare it with the broker if one can be reached.

    Exits with 78 when something is wrong: a bad declaration, or an object that exists with other arguments.
    What is merely missing on the broker is no error, unless the setting topology_mode says that amqtask may
    not declare it.
    """
    app = setup.load()
    result: dict[str, Any] = {"errors": [], "warnings": [], "broker": None, "missing": []}
    try:
        _check(app, offline, result)
    except DocumentError as error:
        if not as_json:
            raise
        result["errors"] = [str(problem) for problem in error.problems]
    if as_json:
        print_json(result)
    else:
        _print_check(setup, app.topology, result, offline)
    if result["errors"]:
        raise TopologyError("\n".join([_wrong(result["errors"]), *([] if as_json else result["errors"])]))


def _wrong(errors: list[str]) -> str:
    return f"{count(len(errors), 'problem')} in the topology"


def _check(app: Amqtask, offline: bool, result: dict[str, Any]) -> None:
    from amqtask.topology.checks import check, warnings  # noqa: PLC0415 -- --help needs none of it

    declared = app.topology
    version = None
    if not offline:
        try:
            with open_admin(app) as admin:
                version = admin.version
                result["errors"] = _texts(check(declared, version))
                if not result["errors"]:
                    _compare(app, _plan(app, admin), result)
        except BrokerUnavailable as error:
            result["unavailable"] = str(error)
    if version is None:
        result["errors"] = _texts(check(declared))
    result["errors"] = [*_periodic_errors(app), *result["errors"]]
    result["broker"] = None if version is None else str(version)
    result["warnings"] = _texts(warnings(declared, version))


def _periodic_errors(app: Amqtask) -> list[str]:
    """What is wrong with the periodic tasks, wherever they are declared."""
    from amqtask import clock  # noqa: PLC0415 -- --help needs none of it
    from amqtask.beat.occurrences import Occurrences  # noqa: PLC0415

    entries, wrong = app.read_periodic()
    return [*wrong, *Occurrences(app, "").unsendable(entries.values(), clock.utcnow())]


def _compare(app: Amqtask, plan: Plan, result: dict[str, Any]) -> None:
    result["errors"] = _differences(plan)
    result["missing"] = [f"{item.kind} {item.name}" for item in plan.missing]
    if app.settings.topology_mode == "verify":
        result["errors"] += [f"{name} does not exist (topology_mode is verify)" for name in result["missing"]]


def _texts(problems: Iterable[Problem]) -> list[str]:
    return [str(problem) for problem in problems]


def _print_check(setup: Setup, declared: Topology, result: dict[str, Any], offline: bool) -> None:
    for warning in result["warnings"]:
        print(f"Warning: {warning}")
    if result["errors"]:
        return
    parts = [
        count(len(declared.queues), "queue"),
        count(len(declared.exchanges), "exchange"),
        count(len(declared.routes), "route"),
        count(len(declared.pools), "pool"),
    ]
    print(f"{declared.source or 'The topology'} is correct: {', '.join(parts)}")
    if result["broker"] is None:
        why = "" if offline else f": {result.get('unavailable')}"
        say(setup, f"Not compared with a broker{why}")
    elif result["missing"]:
        print(f"{result['broker']}: {count(len(result['missing']), 'object')} missing; {_APPLY}")
        print("\n".join(f"  {name}" for name in result["missing"]))
    else:
        print(f"{result['broker']}: everything exists as declared")


@topology.command("plan", short_help="What apply would do.")
@JSON_OPTION
@click.pass_obj
def plan(setup: Setup, as_json: bool) -> None:
    """Show each object and what apply would do about it; nothing is changed.

    \b
    create   it is missing             same    it exists as declared
    differs  it has other arguments    exists  it exists; the user may not compare it
    bind     bound again, which is harmless (AMQP can't tell whether a binding exists)
    """  # noqa: D301 -- click reads \b as "keep these lines"
    app = setup.load()
    with open_admin(app) as admin:
        found = _plan(app, admin)
    if as_json:
        print_json(found.to_json())
        return
    print_table(setup, ("action", "kind", "name", "arguments"), found.rows())
    if found.differences:
        many = len(found.differences)
        what = "it has" if many == 1 else "they have"
        say(setup, f"{count(many, 'object')} can't be applied: {what} other arguments")
    elif found.clean:
        say(setup, "Nothing is missing.")
    else:
        say(setup, f"{count(len(found.missing), 'object')} missing; {_APPLY}")


@topology.command("apply", short_help="Make what is missing on the broker.")
@click.pass_obj
def apply(setup: Setup) -> None:
    """Make every exchange, queue and binding that is missing. Nothing is ever deleted or changed.

    When an object exists with other arguments nothing is done, and the exit code is 78.
    """
    app = setup.load()
    if wrong := _periodic_errors(app):
        raise ConfigError("\n".join(["nothing was applied: " + _wrong(wrong), *wrong]))
    with open_admin(app) as admin:
        todo = _plan(app, admin)
        if todo.differences:
            raise TopologyError("\n".join([*_other_arguments(todo)]))
        for item in todo.items:
            if item.action in ("create", "bind"):
                admin.declare(item.step)
                if item.action == "create" or not setup.quiet:
                    print(f"{'created' if item.action == 'create' else 'bound  '} {item.kind:<8} {item.name}")
    kept = len(todo.items) - len(todo.steps)
    print(f"{count(len(todo.missing), 'object')} created, {kept} there already")


def _plan(app: Amqtask, admin: Admin) -> Plan:
    from amqtask.topology.plan import plan as compare  # noqa: PLC0415

    return compare(_steps(app.topology, admin.version), admin)


def _steps(declared: Topology, version: Version) -> tuple[Step, ...]:
    from amqtask.topology.layout import exit_steps, topology_steps  # noqa: PLC0415

    return (*topology_steps(declared, version), *exit_steps(declared))


def _differences(plan: Plan) -> list[str]:
    return [f"{item.kind} {item.name!r} exists with other arguments: {item.note}" for item in plan.differences]


def _other_arguments(plan: Plan) -> list[str]:
    lines = _differences(plan)
    return [
        f"nothing was applied, because of {count(len(lines), 'object')}:",
        *lines,
        "Declare it as it exists or under another name; or empty it, delete it on the broker, apply again.",
    ]


@topology.command("schema", short_help="The JSON Schema of the routing file.")
def schema() -> None:
    """Print the JSON Schema of routing.yaml, for editors.

    \b
    amqtask topology schema > routing.schema.json
    and in routing.yaml:  # yaml-language-server: $schema=routing.schema.json
    """  # noqa: D301 -- click reads \b as "keep these lines"
    from amqtask.topology.schema import json_schema  # noqa: PLC0415

    print_json(json_schema())


@topology.command("export", short_help="As RabbitMQ definitions, drawing or tables.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["table", "definitions", "mermaid"]),
    default="table",
    show_default=True,
)
@click.option("--vhost", default=None, metavar="VHOST", help="For definitions.  [default: that of the broker URL]")
@click.option("--broker-version", metavar="X.Y", help="For definitions: the version they are for.  [default: 4.0]")
@click.pass_obj
def export(setup: Setup, kind: str, vhost: str | None, broker_version: str | None) -> None:
    """Print the declared topology; no broker is asked.

    \b
    definitions  JSON for 'rabbitmqctl import_definitions'
    mermaid      a drawing for Markdown
    """  # noqa: D301 -- click reads \b as "keep these lines"
    from amqtask.topology import export as formats  # noqa: PLC0415

    app = setup.load()
    if kind == "mermaid":
        print(formats.mermaid(app.topology), end="")
    elif kind == "definitions":
        steps = _steps(app.topology, _version(broker_version))
        print_json(formats.definitions(steps, vhost if vhost is not None else app.broker_urls[0].vhost))
    else:
        _print_tables(setup, app.topology)


def _version(text: str | None) -> Version:
    from amqtask.topology.declarations import Version  # noqa: PLC0415

    if text is None:
        return Version(*_VERSION_FOR_EXPORT)
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is not a version; write for example 4.0", param_hint="--broker-version")
    return Version(int(found[1]), int(found[2]), int(found[3] or 0))


def _print_tables(setup: Setup, declared: Topology) -> None:
    from amqtask.topology import export as formats  # noqa: PLC0415

    tables: tuple[tuple[tuple[str, ...], list[Any]], ...] = (
        (("exchange", "type", "alternate"), formats.exchange_rows(declared)),
        (("queue", "type", "priority", "retries", "bindings"), formats.queue_rows(declared)),
        (("route", "task", "goes to", "priority"), formats.route_rows(declared)),
        (("pool", "queues", "order", "kind", "concurrency"), formats.pool_rows(declared)),
    )
    first = True
    for columns, rows in tables:
        if rows:
            if not first:
                print()
            print_table(setup, columns, [[cell or None for cell in row] for row in rows])
            first = False


COMMAND = topology
