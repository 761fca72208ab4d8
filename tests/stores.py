"""Stores of results for tests: what a test may ask of one, and starting them; stubs where no server can be had."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from private_services.kinds import KINDS, PASSWORD, Redis, Service
from private_services.packages import Unavailable
from stub_cassandra import StubCassandra
from stub_elasticsearch import StubElasticsearch
from stub_mongodb import StubMongoDB

from amqtask.config.settings import Settings
from amqtask.results.base import Backend, Record
from amqtask.results.open import open_backend

WRONG = "shop:wrong-password"


class Place:
    """One store.

    Args:
        name: for people.
        url: setting ``result_backend``.
        wrong: URLs that lead nowhere, with a part of what the error says.
        service: what runs, to be restarted; None where nothing does.
        keeps: documents survive a restart.
        too_large: bytes that it does not take in one document; None: it takes ten million and more.
        shortest: seconds that it can keep a document; some count whole ones.
        spare: connections beside those of the pool: for news, or to see whether the server is alive.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        wrong: dict[str, str],
        service: Any = None,
        keeps: bool = True,
        too_large: int | None = None,
        spare: int = 0,
        shortest: float = 0.3,
    ):
        self.name, self.url, self.wrong, self.service = name, url, wrong, service
        self.keeps, self.too_large, self.spare, self.shortest = keeps, too_large, spare, shortest

    def settings(self, **more: Any) -> Settings:
        return Settings(**({"result_backend": self.url} | more))

    def open(self, **more: Any) -> Backend:
        return open_backend(self.url, self.settings(**more))

    def connections(self) -> int:
        """How many connections this process has to it."""
        port = urlsplit(self.url.replace("db+", "").replace("cache+", "")).port
        found = psutil.Process(os.getpid()).net_connections("tcp")
        return sum(1 for one in found if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED")


def record(task_id: str, state: str = "SUCCESS", result: object = None, **more: Any) -> Record:
    """A record with a document as Celery writes it."""
    document = json.dumps({"status": state, "result": result, "traceback": None, "children": [], "task_id": task_id})
    return Record(task_id, state, document.encode(), **more)


@contextmanager
def started(service: Service) -> Iterator[Service]:
    """A server that runs, and is gone at the end; the test is skipped, loudly, where it can't be had."""
    try:
        service.start()
    except Unavailable as error:
        service.remove()
        pytest.skip(f"no {service.name} on this machine: {error}")
    try:
        yield service
    finally:
        service.remove()


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder that the servers' accounts can enter."""
    made = Path(tempfile.mkdtemp(prefix="amqtask-store-", dir="/tmp"))
    made.chmod(0o711)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def server(kind: type[Service], **more: Any) -> Iterator[Service]:
    """A fresh server."""
    with folder() as state, started(kind(state / kind.name, **more)) as running:
        yield running


@contextmanager
def redis_server() -> Iterator[Redis]:
    """A fresh Redis."""
    with server(Redis) as running:
        assert isinstance(running, Redis)
        yield running


def _without_server(url: str) -> str:
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9", url)


@contextmanager
def _served(name: str, **more: Any) -> Iterator[Place]:
    with server(KINDS[name]) as running:
        wrong = {_without_server(running.url): "refused|connect"}
        if PASSWORD in running.url:
            wrong[running.url.replace(PASSWORD, "wrong-password")] = "(?i)password|denied|authent"
        yield Place(name, running.url, wrong=wrong, service=running, **more)


@contextmanager
def _files() -> Iterator[Place]:
    with folder() as state:
        (state / "taken").write_text("")
        yield Place("file", f"file://{state}/results", wrong={f"file://{state}/taken/results": "Not a directory"})


@contextmanager
def _sqlite() -> Iterator[Place]:
    with folder() as state:
        wrong = {f"db+sqlite:///{state}/nowhere/results.sqlite": "unable to open"}
        yield Place("sqlite", f"db+sqlite:///{state}/results.sqlite", wrong=wrong)


@contextmanager
def _stub(
    make: Callable[[], Any], scheme: str, wrong: dict[str, str], rest: str = "shop", user: str = "", **more: Any
) -> Iterator[Place]:
    stub = make()
    found = {f"{scheme}://127.0.0.1:9/{rest}": "(?i)refused|connect"}
    found |= {f"{scheme}://{user}@{stub.address}/{rest}": text for user, text in wrong.items()}
    try:
        yield Place(scheme, f"{scheme}://{user}{stub.address}/{rest}", wrong=found, service=stub, **more)
    finally:
        stub.stop()


PLACES: dict[str, Callable[[], Any]] = {
    "file": _files,
    "sqlite": _sqlite,
    "redis": lambda: _served("redis", spare=1, shortest=1.0),
    "postgresql": lambda: _served("postgresql"),
    "mariadb": lambda: _served("mariadb", too_large=9_000_000),
    "memcached": lambda: _served("memcached", keeps=False, too_large=2_000_000, shortest=1.0),
    "mongodb": lambda: _stub(
        StubMongoDB,
        "mongodb",
        {WRONG: "Authentication failed"},
        "shop?serverSelectionTimeoutMS=200",
        spare=2,
        too_large=17_000_000,
    ),
    "elasticsearch": lambda: _stub(StubElasticsearch, "elasticsearch", {WRONG: "unable to authenticate"}),
    "cassandra": lambda: _stub(
        StubCassandra, "cassandra", {WRONG: "password are incorrect"}, user="shop:sesame@", shortest=1.0
    ),
}
"""Name -> a context that yields the place."""


@contextmanager
def place_called(name: str) -> Iterator[Place]:
    """The store of this name, running."""
    with ExitStack() as stack:
        yield stack.enter_context(PLACES[name]())
