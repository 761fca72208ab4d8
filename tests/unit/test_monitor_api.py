"""The JSON API has the paths that Flower has."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from flower.urls import handlers
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Match, Route
from starlette.testclient import TestClient
from waiting import wait_for

from amqtask import Amqtask
from amqtask.monitor import api
from amqtask.monitor.api_tasks import _WAITING, TaskCalls
from amqtask.monitor.requests import blocking

MISSING = {"/api/task/abort/x"}
"""Of Celery's AbortableTask."""


def test_every_path_of_flowers_is_there_with_its_method():
    *served, _everything_else = api.routes(None, None, Amqtask("m"))
    seen = []
    for pattern, handler, *_ in (
        one if isinstance(one, tuple) else (one.regex.pattern, one.handler_class) for one in handlers
    ):
        path = re.sub(r"\(.*\)", "x", pattern).rstrip("$")
        if not path.startswith("/api/") or path in MISSING:
            continue
        method = "POST" if "post" in vars(handler) else "GET"
        scope = {"type": "http", "path": path, "method": method, "root_path": ""}
        seen.append(path)
        assert any(route.matches(scope)[0] is Match.FULL for route in served), (method, path)
    assert "/api/workers" in seen
    assert "/api/task/revoke/x" in seen


class Slow:
    """An app whose results come when they are let go."""

    def __init__(self):
        self.go, self.waiting = threading.Event(), []

    def AsyncResult(self, _task_id):  # noqa: N802 -- Celery's name
        return SimpleNamespace(get=self.get, state="PENDING", ready=lambda: False)

    def get(self, **_):
        self.waiting.append(1)
        self.go.wait(30)


def test_programs_that_wait_for_results_do_not_hold_up_pages():
    async def page(_request):
        await blocking(str)
        return PlainTextResponse("here")

    slow = Slow()
    routes = [Route("/page", page), Route("/{name}", TaskCalls(slow, None).result)]
    with TestClient(Starlette(routes=routes)) as client, ThreadPoolExecutor(60) as many:
        try:
            asked = [many.submit(client.get, "/some-id?timeout=9") for _ in range(60)]
            wait_for(lambda: len(slow.waiting) == _WAITING)
            assert client.get("/page").text == "here"
        finally:
            slow.go.set()
        assert {one.result().json()["state"] for one in asked} == {"PENDING"}
