"""How the workers of each peer are started, and which queues they leave behind. Imports no peer."""

from __future__ import annotations

import sys
from typing import Any

Commands = tuple[list[list[str]], dict[str, str]]
"""Command lines of the worker processes, and their extra environment."""


def queues_of(peer: str) -> list[str]:
    """The task queue, and after it what the peer declares beside it."""
    queue = f"bench.{peer}"
    return [
        queue,
        *(queue + suffix for suffix in {"amqtask": (".dead",), "dramatiq": (".DQ", ".XQ")}.get(peer, ())),
    ]


def worker_commands(peer: str, settings: dict[str, Any]) -> Commands:
    """``settings``: pool, slots, and prefetch, which is always the messages held by all slots together."""
    return {"amqtask": _amqtask, "celery": _celery, "dramatiq": _dramatiq, "raw": _raw}[peer](settings)


def _amqtask(settings: dict[str, Any]) -> Commands:
    command = [sys.executable, "-m", "amqtask", "worker", "-A", "peers.amqtask_peer:app", "-l", "warning"]
    command += ["-P", settings["pool"], "-c", str(settings["slots"])]
    if "prefetch" in settings:
        command += ["--prefetch", str(settings["prefetch"])]
    if settings.get("one_at_a_time"):
        command += ["-O", "fair"]
    return [command], {}


def _celery(settings: dict[str, Any]) -> Commands:
    command = [sys.executable, "-m", "celery", "-A", "peers.celery_peer:app", "worker", "-l", "warning"]
    command += ["-P", settings["pool"], "-c", str(settings["slots"]), "-O", "fair"]
    # what talks between workers costs Celery something and has no counterpart here
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [command], {}


def _dramatiq(settings: dict[str, Any]) -> Commands:
    processes, threads = settings["processes"], settings["threads"]
    command = [
        sys.executable,
        "-m",
        "dramatiq",
        "peers.dramatiq_peer",
        "-p",
        str(processes),
        "-t",
        str(threads),
    ]
    if "prefetch" not in settings:
        return [command], {}
    return [command], {"dramatiq_queue_prefetch": str(settings["prefetch"] // processes)}


def _raw(settings: dict[str, Any]) -> Commands:
    return [[sys.executable, "-m", "peers.raw_peer"]] * settings["slots"], {}
