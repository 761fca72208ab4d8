"""Tasks that take time in every way there is: waiting, computing, in native code, with and without manners."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

from pool_app import make_app

from amqtask.app.app import Amqtask
from amqtask.errors import SoftTimeLimitExceeded


def _native(seconds: float) -> None:
    """Stay outside of Python for so long, as native code does: neither signals nor exceptions can end it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        time.sleep(seconds)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def make_timed_app(**settings: Any) -> Amqtask:  # noqa: C901 -- a list of tasks
    """The app of :mod:`pool_app` with more tasks; each returns ``"done"``, or ``"cleaned"`` after its soft limit."""
    app = make_app(**settings)
    ways = {"sleep": time.sleep, "compute": _compute, "native": _native}

    @app.task(name="spend")
    def spend(way: str, seconds: float) -> str:
        ways[way](seconds)
        return "done"

    @app.task(name="aspend")
    async def aspend(way: str, seconds: float) -> str:
        await asyncio.sleep(seconds) if way == "await" else ways[way](seconds)
        return "done"

    @app.task(name="clean")
    def clean(way: str, seconds: float) -> str:
        try:
            ways[way](seconds)
        except SoftTimeLimitExceeded:
            return "cleaned"
        return "done"

    @app.task(name="aclean")
    async def aclean(way: str, seconds: float) -> str:
        try:
            await asyncio.sleep(seconds) if way == "await" else ways[way](seconds)
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0)
            return "cleaned"
        return "done"

    @app.task(name="gathers")
    async def gathers(seconds: float) -> str:
        try:
            await asyncio.gather(*(asyncio.sleep(seconds) for _ in range(3)))
        except SoftTimeLimitExceeded:
            return "cleaned"
        return "done"

    @app.task(name="ill_mannered")
    def ill_mannered(path: str) -> None:
        """Go on whatever is raised, until the file exists."""
        while True:
            try:
                while not Path(path).exists():
                    _compute(0.05)
                return
            except BaseException:
                continue

    @app.task(name="aill_mannered")
    async def aill_mannered(path: str) -> None:
        while True:
            try:
                while not Path(path).exists():  # noqa: ASYNC110, ASYNC240 -- a test opens the gate
                    await asyncio.sleep(0.01)
                return
            except BaseException:
                continue

    @app.task(name="meet")
    async def meet(folder: str, name: str, many: int) -> int:
        """Wait until so many of these run at the same time."""
        Path(folder, name).touch()  # noqa: ASYNC240 -- files tell across processes
        while len(list(Path(folder).iterdir())) < many:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.005)
        return many

    return app
