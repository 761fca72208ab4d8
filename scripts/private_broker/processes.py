"""Ending exactly the processes that we started, and waiting for what they serve."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "127.0.0.1"
RESERVED = 300
"""Seconds in which a port that was chosen is given to nobody else."""
Process = tuple[int, str]  # number and start time: together never reused


def born(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def alive(process: Process | None) -> bool:
    return process is not None and born(process[0]) == process[1] != ""


def descendants(pid: int) -> list[Process]:
    """The process and everything below it, each with its start time."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found: list[Process] = []
    todo = [pid]
    while todo:
        found.append((todo[0], born(todo[0])))
        todo += children.get(todo.pop(0), [])
    return found


def end(processes: list[Process], seconds: float, *, sign: int = signal.SIGTERM) -> None:
    """End processes by number, politely to the first one, then by force."""
    deadline = time.monotonic() + seconds
    if processes and alive(processes[0]):
        os.kill(processes[0][0], sign)
    while any(alive(p) for p in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in processes:
        if alive(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process[0], signal.SIGKILL)
    wait_for(lambda: not any(alive(p) for p in processes), 5)


def limit_files() -> None:
    """For this process and what it starts: Erlang sizes tables by this limit, huge in some containers."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))


def free_ports(count: int) -> list[int]:
    """Free loopback ports below the ephemeral range.

    In the ephemeral range a client that reconnects to a stopped node could
    be given that very port and connect to itself. A server takes its time to
    listen: until then nobody else who asks here gets the same port.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if _reserve(port):
                ports.append(port)
    return ports


def _reserve(port: int) -> bool:
    """Whether nobody has been given the port in the last minutes."""
    folder = Path(tempfile.gettempdir(), "amqtask-ports")
    mark = folder / str(port)
    try:
        folder.mkdir(exist_ok=True)
        if mark.exists() and time.time() - mark.stat().st_mtime > RESERVED:
            mark.unlink(missing_ok=True)
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # the folder is another user's: then there are no marks
        return True
    return True


def listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def speaks_amqp(port: int) -> bool:
    """Whether the broker answers a protocol header with connection.start."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 2) as connection:
        connection.settimeout(5)
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(1) == b"\x01"
    return False


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
