"""systemd's notification protocol: one datagram with lines ``KEY=value``. Owns the socket's address and the interval.

Nothing happens in processes that systemd has not started with ``Type=notify``.
"""

from __future__ import annotations

import contextlib
import os
import socket


def notify(text: str) -> bool:
    """Tell systemd something, such as ``READY=1`` or ``WATCHDOG=1``.

    Returns:
        Whether somebody listens.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
    ):
        sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        sender.send(text.encode())
    return True


def watchdog_interval() -> float | None:
    """Seconds in which systemd wants to hear from this process (``WatchdogSec=``), or None."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 1_000_000
