"""A systemd unit per process. Owns its text."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from amqtask.cli.deploy.plan import FINAL

if TYPE_CHECKING:
    from amqtask.cli.deploy.plan import Plan, Unit


def systemd(plan: Plan, *, python: str, folder: str, user: str) -> str:
    """Units, one after the other, each under a comment with the name of its file.

    Args:
        plan: what is to run.
        python: the interpreter.
        folder: the workers' working directory.
        user: that they run as.
    """
    return "\n".join(_unit(plan, unit, python, folder, user) for unit in plan.units)


def _unit(plan: Plan, unit: Unit, python: str, folder: str, user: str) -> str:
    name = f"{plan.name}-{unit.name}"
    command = shlex.join([python, "-m", "amqtask", *unit.words]).replace("%", "%%")
    service = [
        "[Service]",
        f"# The {'worker' if unit.queues else 'scheduler'} says when it is up, and that its I/O loop turns.",
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=60",
        f"User={user}",
        f"WorkingDirectory={folder}",
        "# AMQTASK_BROKER_URL=amqps://... and other settings; readable by root only",
        f"EnvironmentFile=-/etc/default/{plan.name}",
        f"ExecStart={command}",
    ]
    if unit.queues:
        service += ["# a fresh process takes over without a gap", "ExecReload=/bin/kill -HUP $MAINPID"]
    service += [
        "KillMode=mixed",
        f"TimeoutStopSec={plan.grace}",
        "Restart=always",
        "RestartSec=2",
        f"RestartPreventExitStatus={' '.join(map(str, FINAL))}",
    ]
    queues = f" ({', '.join(unit.queues)})" if unit.queues else ""
    lines = [
        f"# /etc/systemd/system/{name}.service",
        "[Unit]",
        f"Description={plan.name}: {unit.name}{queues}",
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        *service,
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)
