"""One program that runs on Celery as well as on amqtask; only its imports differ. SIDE says which.

Started as a worker by ``celery -A interop_shop worker`` and by ``amqtask worker -A interop_shop``; tests make the
client's side with :func:`make_app`.
"""

from __future__ import annotations

import os
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

MODULES = {"celery": "celery", "amqtask": "amqtask.contrib.celery"}


class NoStock(Exception):
    """An error of the program's own."""


def module_of(side: str, name: str = "") -> ModuleType:
    """A module of Celery, or the one that stands for it."""
    return import_module(f"{MODULES[side]}.{name}".rstrip("."))


def make_app(side: str, url: str | None, backend: str | None) -> Any:
    """The app, of a client as of a worker."""
    made = module_of(side).Celery("interop_shop", broker=url, backend=backend)
    made.conf.update(
        broker_connection_retry_on_startup=True,
        result_expires=60,
        task_track_started=True,
        worker_send_task_events=False,
    )
    declare_plain(made)
    declare_bound(made)
    return made


def declare_plain(app: Any) -> None:
    @app.task(shared=False, name="shop.add")
    def add(x: Any, y: Any = 1) -> Any:
        return x + y

    @app.task(shared=False, name="shop.xsum")
    def xsum(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(shared=False, name="shop.fail")
    def fail(text: str = "as it should") -> None:
        raise ValueError(text)

    @app.task(shared=False, name="shop.own")
    def own() -> None:
        raise NoStock("apples", 3)

    @app.task(shared=False, name="shop.moment")
    def moment() -> float:
        return time.time()

    @app.task(shared=False, name="shop.keep")
    def keep(*words: Any) -> None:
        with Path(os.environ["SHOP_NOTES"]).open("a") as notes:
            notes.write(f"{words[-1]}\n")


def declare_bound(app: Any) -> None:
    @app.task(shared=False, bind=True, name="shop.at_third", max_retries=3)
    def at_third(self: Any) -> int:
        if self.request.retries < 2:
            # not at once: Celery's workers store RETRY after they have sent the next attempt, over its result
            raise self.retry(countdown=1)
        retries: int = self.request.retries
        return retries

    @app.task(shared=False, bind=True, name="shop.moves")
    def moves(self: Any, queue: str = "celery") -> list[Any]:
        if not self.request.retries:
            raise self.retry(countdown=0.2, queue=queue, priority=9)
        info = self.request.delivery_info
        return [info["routing_key"], self.request.retries, info["priority"]]

    @app.task(shared=False, bind=True, name="shop.give_up", max_retries=1)
    def give_up(self: Any) -> None:
        raise self.retry(countdown=0)

    @app.task(shared=False, bind=True, name="shop.replaced")
    def replaced(self: Any, x: int) -> None:
        raise self.replace(app.tasks["shop.add"].s(x, 100))

    @app.task(shared=False, bind=True, name="shop.progress")
    def progress(self: Any, gate: str) -> str:
        self.update_state(state="PROGRESS", meta={"done": 7})
        while not Path(gate).exists():
            time.sleep(0.02)
        return "done"


app = (
    make_app(os.environ["SIDE"], os.environ.get("BROKER_URL"), os.environ.get("BACKEND"))
    if "SIDE" in os.environ
    else None
)
