"""``amqtask report``: everything a bug report needs, passwords masked."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.broker import open_admin
from amqtask.cli.command import JSON_OPTION, Command
from amqtask.cli.exits import describe
from amqtask.cli.output import print_json, print_table
from amqtask.errors import AmqtaskError

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.cli.setup import Setup

_PACKAGES = ("amqtask", "pika", "aio-pika", "msgpack", "PyYAML", "click", "rich", "setproctitle", "psutil")


@click.command("report", cls=Command, short_help="Show versions, settings and where each comes from.")
@JSON_OPTION
@click.pass_obj
def report(setup: Setup, as_json: bool) -> None:
    """Show versions, the broker, each setting with its value and where it comes from, and the topology in short.

    A value that was set in code has its file and line, one of the environment its variable.
    """
    app = setup.load("nothing")
    document: dict[str, Any] = {
        "versions": {"python": sys.version.split()[0], **_versions()},
        "platform": platform.platform(),
        "broker": _broker(app),
        "settings": [row._asdict() for row in app.configuration.report()],
        "topology": _topology(app),
    }
    if as_json:
        print_json(document)
        return
    _section("Software")
    print(" ".join(f"{name} {version}" for name, version in document["versions"].items()))
    print(document["platform"])
    _section("Broker")
    print("\n".join(f"{url}" for url in document["broker"]["urls"]))
    print(document["broker"]["version"] or document["broker"]["error"])
    _section("Settings")
    given, idle = _rows(document, noted=False), _rows(document, noted=True)
    print_table(setup, ("setting", "value", "from"), given)
    if idle:
        _section("Settings without effect")
        print_table(setup, ("setting", "value", "from", "because"), idle)
    _section("Topology")
    print("\n".join(f"{name}: {value}" for name, value in document["topology"].items()))


def _section(title: str) -> None:
    print(f"\n{title}\n{'-' * len(title)}" if title != "Software" else f"{title}\n{'-' * len(title)}")


def _rows(document: dict[str, Any], *, noted: bool) -> list[tuple[str, ...]]:
    found = []
    for row in document["settings"]:
        origin = f"{row['origin']}, {row['place']}" if row["place"] else row["origin"]
        if bool(row["note"]) == noted:
            found.append((row["name"], row["value"], origin, *([row["note"]] if noted else [])))
    return found


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _broker(app: Amqtask) -> dict[str, Any]:
    try:
        urls = [str(url) for url in app.broker_urls]
        with open_admin(app) as admin:
            return {"urls": urls, "version": str(admin.version), "error": None}
    except AmqtaskError as error:
        shown = [row.value for row in app.configuration.report() if row.name == "broker_url"]
        return {"urls": shown, "version": None, "error": " ".join(describe(error))}


def _topology(app: Amqtask) -> dict[str, Any]:
    try:
        topology = app.topology
    except AmqtaskError as error:
        return {"error": " ".join(describe(error))}
    return {
        "source": topology.source or "code",
        "queues": ", ".join(topology.queues),
        "exchanges": ", ".join(topology.exchanges) or "none",
        "routes": len(topology.routes),
        "pools": ", ".join(topology.pools) or "none",
        "default queue": topology.default_queue.name,
    }


COMMAND = report
