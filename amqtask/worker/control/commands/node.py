"""Commands about the worker as a whole: who it is, what it has done, how it is set up, its end."""

from __future__ import annotations

import logging
import os
import platform
import resource
import sys
from typing import TYPE_CHECKING, Any

import amqtask
from amqtask import clock as clocks
from amqtask.config.showing import mask
from amqtask.control.registry import control_command, inspect_command
from amqtask.worker.control import words
from amqtask.worker.control.dispatch import Refused
from amqtask.worker.control.panel import own
from amqtask.worker.process.stacks import stacks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.control.registry import Panel

logger = logging.getLogger("amqtask.worker.control")

_RUSAGE = (
    "utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock", "oublock", "msgsnd",
    "msgrcv", "nsignals", "nvcsw", "nivcsw",
)  # fmt: skip

_TOLD = 10_000
"""Ids of revoked tasks that another node is told, the latest."""


@inspect_command()
def ping(panel: Panel, **_: Any) -> dict[str, str]:  # noqa: ARG001 -- every command gets the panel
    """Is the worker there?"""
    return {"ok": "pong"}


@inspect_command()
def clock(panel: Panel, **_: Any) -> dict[str, int]:
    """The logical clock."""
    return {"clock": panel.clock.value}


@control_command()
def hello(panel: Panel, from_node: str, revoked: Any = None, **_: Any) -> dict[str, Any] | None:
    """What a worker of Celery asks when it starts: exchanges ids of revoked tasks."""
    if from_node == panel.hostname:
        return None
    revokes = own(panel).revokes
    revokes.learn(words.names(revoked))
    return {"revoked": revokes.revoked.ids()[-_TOLD:], "clock": panel.clock.tick()}


@inspect_command()
def stats(panel: Panel, **_: Any) -> dict[str, Any]:
    """Numbers of the worker, its pool and its broker."""
    worker = panel.worker
    usage = resource.getrusage(resource.RUSAGE_SELF)
    scaling = own(panel).scaling
    return {
        "total": dict(worker.custody.counts.tasks),
        "pid": os.getpid(),
        "clock": str(panel.clock.value),
        "uptime": round(clocks.monotonic() - worker.started),
        "pool": worker.pool.info(),
        **({} if scaling is None else {"autoscaler": scaling.info()}),
        "broker": _broker(panel),
        "prefetch_count": sum(worker.consumers.consumed.values()),
        "rusage": {name: getattr(usage, f"ru_{name}") for name in _RUSAGE},
    }


def _broker(panel: Panel) -> dict[str, Any]:
    connection = panel.worker.connection
    url = connection.url if connection is not None else panel.app.broker_urls[0]
    others = [str(one) for one in panel.app.broker_urls if one != url]
    return {
        "hostname": url.host,
        "userid": url.user,
        "virtual_host": url.vhost,
        "port": url.port,
        "insist": False,
        "ssl": url.tls,
        "transport": "amqp",
        "connect_timeout": panel.app.connection_options.connect_timeout,
        "transport_options": {},
        "login_method": "EXTERNAL" if url.external else "PLAIN",
        "uri_prefix": None,
        "heartbeat": float(panel.app.connection_options.heartbeat if url.heartbeat is None else url.heartbeat),
        "failover_strategy": panel.app.settings.broker_failover_strategy,
        "alternates": others,
        "credential_provider": None,
    }


@inspect_command(args=[("with_defaults", words.flag)], signature="[with_defaults=no]")
def conf(panel: Panel, with_defaults: bool = False, **_: Any) -> dict[str, Any]:
    """Settings, passwords masked."""
    return dict(_settings(panel, with_defaults))


def _settings(panel: Panel, with_defaults: bool) -> Iterator[tuple[str, Any]]:
    yield from panel.app.conf.table(with_defaults).items()


@inspect_command()
def report(panel: Panel, **_: Any) -> dict[str, str]:
    """What belongs into a bug report."""
    lines = [
        f"software -> amqtask:{amqtask.__version__} py:{sys.version.split()[0]}",
        f"platform -> {_platform()}",
        f"broker   -> {', '.join(str(url) for url in panel.app.broker_urls)}",
        f"queues   -> {', '.join(panel.worker.consumers.consumed)}",
        "",
        *(f"{name}: {value!r}" for name, value in _settings(panel, with_defaults=False)),
    ]
    return {"ok": mask("\n".join(("", *lines, "")))}


def _platform() -> str:
    """System, release, machine and C library. ``platform.platform`` would fork, and wait, on the I/O thread."""
    system = os.uname()
    return "-".join((system.sysname, system.release, system.machine, *platform.libc_ver()))


@inspect_command()
def stack(panel: Panel, **_: Any) -> dict[str, str]:  # noqa: ARG001 -- every command gets the panel
    """What each thread of the worker is doing."""
    return {"ok": stacks()}


@inspect_command()
def connections(panel: Panel, **_: Any) -> dict[str, Any]:
    """Connections to the broker."""
    worker = panel.worker
    connection = worker.connection
    return {
        "consume": {
            "connected": connection is not None,
            "broker": None if connection is None else connection.url.where,
            "version": None if connection is None else str(connection.version),
        },
        "publish": {
            "connected": worker.publisher.connected,
            "blocked": worker.publisher.blocked,
            "pending": worker.publisher.pending,
        },
    }


@control_command()
def shutdown(panel: Panel, msg: str = "Got shutdown from remote", **_: Any) -> None:
    """End the worker warm."""
    logger.warning("%.200s", msg)
    worker = panel.worker
    worker.call_soon(worker.shutdown.warm)


@control_command()
def pool_restart(panel: Panel, **_: Any) -> dict[str, str]:
    """Replace the worker by a fresh process, which imports everything anew, without a gap."""
    if panel.worker.restart is None:
        raise Refused("Pool restarts not enabled")
    panel.worker.ask_restart("remote control asks for it")
    return {"ok": "reload started"}


@control_command(signature="ID TOPIC", args=[("id", str), ("topic", str)])
def election(panel: Panel, id: str, topic: str, action: Any = None, **_: Any) -> None:  # noqa: A002 -- Celery's
    """Have one worker, whichever, do something."""
    own(panel).elections.hold(id, topic, action)
