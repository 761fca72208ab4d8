"""``amqtask generate``: files for systemd, supervisord, compose and Kubernetes. Owns their options.

The formats are in :mod:`amqtask.cli.deploy`.
"""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Group
from amqtask.cli.output import say

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.cli.deploy.plan import Plan
    from amqtask.cli.setup import Setup

_VARIABLE = "AMQTASK_BROKER_URL"
_IMAGE = click.option("--image", default="my-app:latest", show_default=True, help="Container image of the app.")
_USER = click.option("--user", metavar="NAME", help="User they run as.  [default: who you are]")
_PYTHON = click.option("--python", metavar="PATH", help="Interpreter.  [default: this one]")


@click.group("generate", cls=Group, short_help="Write files that run the app in production.")
def generate() -> None:
    """Print files that run the app's workers (one per pool of the routing file) and its scheduler."""


@generate.command("systemd", short_help="Units for systemd.")
@_USER
@_PYTHON
@click.pass_obj
def _systemd(setup: Setup, user: str | None, python: str | None) -> None:
    """Units with readiness, watchdog, reload without a gap, and a restart after every end that a restart can cure."""
    from amqtask.cli.deploy.systemd import systemd  # noqa: PLC0415 -- --help needs none of it

    plan = _plan(setup)
    print(systemd(plan, python=python or sys.executable, folder=_here(), user=user or getpass.getuser()), end="")


@generate.command("supervisor", short_help="Programs for supervisord.")
@_USER
@_PYTHON
@click.pass_obj
def _supervisor(setup: Setup, user: str | None, python: str | None) -> None:
    """Programs that end as a group, with time for running tasks."""
    from amqtask.cli.deploy.supervisor import supervisor  # noqa: PLC0415

    plan = _plan(setup)
    print(supervisor(plan, python=python or sys.executable, folder=_here(), user=user or getpass.getuser()), end="")


@generate.command("compose", short_help="A compose file.")
@_IMAGE
@click.pass_obj
def _compose(setup: Setup, image: str) -> None:
    """A broker and a service per worker, with health checks."""
    from amqtask.cli.deploy.compose import compose  # noqa: PLC0415

    print(compose(_plan(setup), image=image), end="")


@generate.command("k8s", short_help="Deployments for Kubernetes, scaled by KEDA.")
@_IMAGE
@click.option("--replicas", nargs=2, type=click.IntRange(min=0), default=(1, 10), show_default=True, metavar="MIN MAX")
@click.option(
    "--backlog", type=click.IntRange(min=1), default=20, show_default=True, help="Waiting messages per pod to aim at."
)
@click.pass_obj
def _k8s(setup: Setup, image: str, replicas: tuple[int, int], backlog: int) -> None:
    """Deployments with probes and grace time, and a ScaledObject of KEDA for each."""
    from amqtask.cli.deploy.kubernetes import kubernetes  # noqa: PLC0415

    print(kubernetes(_plan(setup), image=image, replicas=replicas, backlog=backlog), end="")


def _plan(setup: Setup) -> Plan:
    from amqtask.cli.deploy.plan import plan  # noqa: PLC0415

    app = setup.load("app")
    _remark(setup, app)
    return plan(app, setup.app_path or "")


def _remark(setup: Setup, app: Amqtask) -> None:
    """Say when the broker of these files would not be the one that is used."""
    from amqtask.config.sources import Source, check_text  # noqa: PLC0415

    variable = os.environ.get(_VARIABLE)
    row = next(row for row in app.configuration.report() if row.name == "broker_url")
    in_code = app.configuration.origin(row.name) in (Source.OBJECT, Source.CODE)
    if in_code and not (variable and check_text(row.name, variable) == app.settings.broker_url):
        say(
            setup,
            f"{row.name} is set in {row.place or 'the code'} and wins over {_VARIABLE}, by which these files name the "
            "broker: take it out there, or have it read that variable",
        )


def _here() -> str:
    return os.getcwd()  # noqa: PTH109


COMMAND = generate
