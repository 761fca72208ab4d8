"""Tasks that do what user code does to a worker: results, errors, hostile exceptions, crashes."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import os
import signal
import stat
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from amqtask.app.app import Amqtask
from amqtask.errors import Ignore, Reject, Retry


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit("no")

    __repr__ = __str__


class WrongStr(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307


class Liar(Exception):
    @property
    def __class__(self) -> type:  # type: ignore[override]
        return Reject


class NoClass(Exception):
    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("no class")


class UnprintableResult:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


def _recurse(depth: int) -> int:
    return _recurse(depth + 1) + 1


def _chain() -> NoReturn:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def _memory() -> bytes:
    return b"x" * (1 << 62)


def _raise(error: BaseException) -> Any:
    raise error


HOSTILE: dict[str, Any] = {
    "str raises": lambda: _raise(Unprintable()),
    "str returns no text": lambda: _raise(WrongStr()),
    "huge message": lambda: _raise(ValueError("x" * 5_000_000)),
    "lone surrogate": lambda: _raise(ValueError("\ud800")),
    "lies about its class": lambda: _raise(Liar()),
    "has no class": lambda: _raise(NoClass()),
    "SystemExit": lambda: _raise(SystemExit(3)),
    "KeyboardInterrupt": lambda: _raise(KeyboardInterrupt()),
    "GeneratorExit": lambda: _raise(GeneratorExit()),
    "StopIteration": lambda: _raise(StopIteration(1)),
    "CancelledError": lambda: _raise(asyncio.CancelledError()),
    "BaseException": lambda: _raise(BaseException("base")),
    "recursion": lambda: _recurse(0),
    "memory": _memory,
    "cause bites its tail": _chain,
    "group": lambda: _raise(BaseExceptionGroup("many", [ValueError("a"), SystemExit()])),
}


def make_app(**settings: Any) -> Amqtask:  # noqa: C901, PLR0915 -- a list of tasks
    app = Amqtask("pools", **settings)

    @app.task(name="add")
    def add(left: int, right: int = 0) -> int:
        return left + right

    @app.task(name="size")
    def size(data: bytes) -> int:
        return len(data)

    @app.task(name="aadd")
    async def aadd(left: int, right: int) -> int:
        await asyncio.sleep(0)
        return left + right

    @app.task(name="hostile")
    def hostile(which: str) -> Any:
        return HOSTILE[which]()

    @app.task(name="ahostile")
    async def ahostile(which: str) -> Any:
        await asyncio.sleep(0)
        return HOSTILE[which]()

    @app.task(name="unprintable_result")
    def unprintable_result() -> Any:
        return UnprintableResult()

    @app.task(name="reject")
    def reject(requeue: bool) -> None:
        raise Reject("not mine", requeue=requeue)

    @app.task(name="ignore")
    def ignore() -> None:
        raise Ignore

    @app.task(name="again", bind=True, max_retries=2)
    def again(self: Any, *args: Any) -> None:
        raise self.retry(exc=ValueError("not yet"), countdown=2.5)

    @app.task(name="again_with", bind=True)
    def again_with(self: Any, *args: Any) -> None:
        raise Retry(countdown=1, args=(*args, 2), kwargs={"more": True})

    @app.task(name="again_with_unsendable", bind=True)
    def again_with_unsendable(self: Any) -> None:
        raise Retry(countdown=1, args=(object(),))

    @app.task(name="again_forever", autoretry_for=(OSError,), max_retries=None, retry_backoff=2, retry_jitter=False)
    def again_forever() -> None:
        raise OSError("flaky")

    @app.task(name="request", bind=True)
    def request(self: Any) -> dict[str, Any]:
        seen = self.request
        return {
            "id": seen.id, "retries": seen.retries, "queue": seen.queue, "hostname": seen.hostname,
            "root_id": seen.root_id, "delivery_info": seen.delivery_info, "count": seen.delivery_count,
            "headers": seen.headers,
        }  # fmt: skip

    @app.task(name="where")
    def where() -> tuple[int, str]:
        return os.getpid(), threading.current_thread().name

    @app.task(name="wait_for_file")
    def wait_for_file(path: str) -> int:
        """Report the process in a file beside ``path``, and wait until ``path`` exists."""
        Path(path + ".pid").write_text(str(os.getpid()))
        while not Path(path).exists():
            time.sleep(0.005)
        return os.getpid()

    @app.task(name="send_more")
    def send_more(count: int) -> list[str]:
        return [add.delay(number, 1).id for number in range(count)]

    @app.task(name="send_batch")
    def send_batch(count: int) -> int:
        return len(add.delay_many([(number, 1) for number in range(count)]))

    @app.task(name="send_from_threads")
    def send_from_threads(count: int) -> int:
        ids: list[str] = []
        threads = [threading.Thread(target=lambda: ids.append(add.delay(1, 1).id)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(set(ids))

    @app.task(name="asend_more")
    async def asend_more(count: int) -> int:
        return len(await asyncio.gather(*(add.adelay(number, 1) for number in range(count))))

    @app.task(name="publish_error")
    def publish_error() -> str:
        try:
            add.delay(1, 1)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "none"

    @app.task(name="exit")
    def exit_hard(status: int) -> None:
        os._exit(status)

    @app.task(name="kill")
    def kill(number: int) -> None:
        faulthandler.disable()  # its report would only clutter the terminal
        os.kill(os.getpid(), number)
        signal.pause()

    @app.task(name="segfault")
    def segfault() -> None:
        faulthandler.disable()
        ctypes.string_at(0)

    @app.task(name="close_all")
    def close_all() -> None:
        os.closerange(3, 256)
        signal.pause()

    @app.task(name="garbage")
    def garbage() -> None:
        for fd in range(3, 256):
            try:
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    os.write(fd, b"\xff" * 64)
            except OSError:
                continue
        signal.pause()

    @app.task(name="fork_and_raise")
    def fork_and_raise() -> int:
        pid = os.fork()
        if pid == 0:
            raise RuntimeError("the fork slips out of the task")
        return os.waitpid(pid, 0)[1]

    @app.task(name="spin")
    def spin(path: str) -> None:
        Path(path).write_text(str(os.getpid()))
        while True:
            pass

    @app.task(name="spawn_loop_exit")
    async def spawn_loop_exit() -> None:
        async def leave() -> None:
            raise SystemExit(1)

        await asyncio.gather(asyncio.create_task(leave()))

    return app
