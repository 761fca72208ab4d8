"""The JSON API, with the paths, parameters and answers of Flower's. Owns the translation.

What is different: it needs no variable in the environment to be used without a password, changes that are not made are
told by an error (403, 404, 503), and ``search`` looks for a text.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from amqtask.errors import (
    AccessRefused,
    AmqtaskError,
    BackendError,
    BrokerUnavailable,
    ConfigError,
    NoResultBackend,
    UnknownTask,
)
from amqtask.monitor.api_tasks import TaskCalls
from amqtask.monitor.picture import as_flower, number
from amqtask.monitor.requests import answer, blocking, form, who

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from amqtask.app.app import Amqtask
    from amqtask.events.nodes import Task
    from amqtask.monitor.actions import Actions
    from amqtask.monitor.source import Source

    Handler = Callable[[Request], Awaitable[Response]]

_STATUS: tuple[tuple[type[AmqtaskError], int], ...] = (
    (UnknownTask, 404),
    (NoResultBackend, 503),
    (BrokerUnavailable, 503),
    (BackendError, 503),
    (AccessRefused, 503),
    (ConfigError, 400),
)
_SORTED_BY = ("name", "state", "received", "started")


def status_of(error: Exception) -> int:
    """The status that tells of an error; 403 for what was refused."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 403)


def routes(source: Source, actions: Actions, app: Amqtask) -> list[BaseRoute]:
    """Everything under ``/api``."""
    reads, changes, calls = _Reads(source), _Changes(source, actions), TaskCalls(app, actions)
    gets: dict[str, Handler] = {
        "/api/workers": reads.workers,
        "/api/tasks": reads.tasks,
        "/api/task/types": reads.task_types,
        "/api/task/info/{name:path}": reads.task_info,
        "/api/task/result/{name:path}": calls.result,
        "/api/queues/length": reads.queues_length,
    }
    posts: dict[str, Handler] = {
        "/api/worker/shutdown/{name:path}": changes.shutdown,
        "/api/worker/pool/restart/{name:path}": changes.pool_restart,
        "/api/worker/pool/grow/{name:path}": changes.pool_grow,
        "/api/worker/pool/shrink/{name:path}": changes.pool_shrink,
        "/api/worker/pool/autoscale/{name:path}": changes.autoscale,
        "/api/worker/queue/add-consumer/{name:path}": changes.add_consumer,
        "/api/worker/queue/cancel-consumer/{name:path}": changes.cancel_consumer,
        "/api/task/apply/{name:path}": calls.apply,
        "/api/task/async-apply/{name:path}": calls.async_apply,
        "/api/task/send-task/{name:path}": calls.send_task,
        "/api/task/timeout/{name:path}": changes.timeout,
        "/api/task/rate-limit/{name:path}": changes.rate_limit,
        "/api/task/revoke/{name:path}": changes.revoke,
    }
    return [
        *(Route(path, handler, methods=["GET"]) for path, handler in gets.items()),
        *(Route(path, handler, methods=["POST"]) for path, handler in posts.items()),
        Route("/api/{name:path}", _nothing),
    ]


async def _nothing(_request: Request) -> Response:
    return PlainTextResponse("no such path in the API\n", 404)


class _Reads:
    """What changes nothing."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def workers(self, request: Request) -> Response:
        name, query = request.query_params.get("workername"), request.query_params
        if _flag(query.get("status")):
            return answer({one.name: one.alive for one in await blocking(self._source.workers)})
        refresh = _flag(query.get("refresh"))
        told = await blocking(self._source.fleet, refresh=refresh)
        if (fleet := told.value) is None or (refresh and told.error is not None):
            raise HTTPException(503, str(told.error))
        if name is None:
            return answer(fleet)
        if name not in fleet:
            raise HTTPException(404, f"Unknown worker '{name}'")
        return answer({name: fleet[name]})

    async def tasks(self, request: Request) -> Response:
        return await blocking(self._tasks, request)

    def _tasks(self, request: Request) -> Response:
        query = request.query_params
        wanted = {key: query.get(key) for key in ("workername", "taskname", "state")}
        search, sort_by = (query.get("search") or "").lower(), query.get("sort_by") or ""
        start, end = _minute(query.get("received_start")), _minute(query.get("received_end"))
        if sort_by and sort_by.lstrip("-") not in _SORTED_BY:
            raise HTTPException(400, f"Invalid sort_by '{sort_by}', expected one of {', '.join(_SORTED_BY)}")
        found = []
        for task in self._source.raw_tasks():
            values = as_flower(task)
            known = {"workername": values.get("worker"), "taskname": task.name, "state": task.state}
            received = number(task.received)
            if (
                all(value in (None, "", "All", known[key]) for key, value in wanted.items())
                and (start is None or (received is not None and received >= start))
                and (end is None or (received is not None and received <= end))
                and (not search or search in json.dumps(values).lower())
            ):
                found.append(values)
        if sort_by:
            key = sort_by.lstrip("-")
            found.sort(key=lambda one: (one[key] is not None, one[key]), reverse=sort_by.startswith("-"))
        offset, limit = max(0, _whole(query.get("offset"), 0)), query.get("limit")
        found = found[offset : None if limit in (None, "") else offset + max(0, _whole(limit, 0))]
        return answer({one["uuid"]: one for one in found})

    async def task_types(self, _request: Request) -> Response:
        return answer({"task-types": await blocking(self._source.task_names)})

    async def task_info(self, request: Request) -> Response:
        name = request.path_params["name"]
        found: list[Task] = [task for task in await blocking(self._source.raw_tasks) if task.uuid == name]
        if not found:
            raise HTTPException(404, f"Unknown task '{name}'")
        return answer(as_flower(found[0]))

    async def queues_length(self, _request: Request) -> Response:
        queues = await blocking(self._source.queues)
        if queues.error is not None:
            raise HTTPException(503, queues.error)
        active = [{"name": one.name, "messages": one.ready} for one in queues.rows if one.exists]
        return answer({"active_queues": active})


class _Changes:
    """What changes workers and tasks."""

    def __init__(self, source: Source, actions: Actions) -> None:
        self._source, self._actions = source, actions

    async def shutdown(self, request: Request) -> Response:
        await self._of_worker(request, self._actions.worker_shutdown)
        return _done("Shutting down!")

    async def pool_restart(self, request: Request) -> Response:
        name = await self._of_worker(request, self._actions.pool_restart)
        return _done(f"Restarting '{name}' worker's pool")

    async def pool_grow(self, request: Request) -> Response:
        n = _whole((await _given(request)).get("n"), 1)
        name = await self._of_worker(request, self._actions.pool_grow, n)
        return _done(f"Growing '{name}' worker's pool by {n}")

    async def pool_shrink(self, request: Request) -> Response:
        n = _whole((await _given(request)).get("n"), 1)
        name = await self._of_worker(request, self._actions.pool_shrink, n)
        return _done(f"Shrinking '{name}' worker's pool by {n}")

    async def autoscale(self, request: Request) -> Response:
        given = await _given(request)
        least, most = _whole(_required(given, "min")), _whole(_required(given, "max"))
        name = await self._of_worker(request, self._actions.autoscale, least, most)
        return _done(f"Autoscaling '{name}' worker (min={least}, max={most})")

    async def add_consumer(self, request: Request) -> Response:
        queue = _required(await _given(request), "queue")
        await self._of_worker(request, self._actions.add_consumer, queue)
        return _done(f"add consumer {queue}")

    async def cancel_consumer(self, request: Request) -> Response:
        queue = _required(await _given(request), "queue")
        await self._of_worker(request, self._actions.cancel_consumer, queue)
        return _done(f"no longer consuming from {queue}")

    async def timeout(self, request: Request) -> Response:
        given, task = await _given(request), request.path_params["name"]
        soft, hard = _seconds(given.get("soft")), _seconds(given.get("hard"))
        await blocking(self._actions.time_limit, who(request), task, soft, hard, await self._known(given))
        return _done("time limits set successfully")

    async def rate_limit(self, request: Request) -> Response:
        given, task = await _given(request), request.path_params["name"]
        rate = _required(given, "ratelimit")
        await blocking(self._actions.rate_limit, who(request), task, rate, await self._known(given))
        return _done("new rate limit set successfully")

    async def revoke(self, request: Request) -> Response:
        given, task = await _given(request), _required(request.path_params, "name")
        stop, signal = _flag(given.get("terminate")), given.get("signal") or "SIGTERM"
        await blocking(self._actions.revoke, who(request), task, terminate=stop, signal=signal)
        return _done(f"Revoked '{task}'")

    async def _of_worker(self, request: Request, change: Callable[..., str], *more: Any) -> str:
        name = await self._known({"workername": request.path_params["name"]})
        await blocking(change, who(request), name, *more)
        return name

    async def _known(self, given: dict[str, str]) -> str:
        name = _required(given, "workername")
        if name not in {worker.name for worker in await blocking(self._source.workers)}:
            raise HTTPException(404, f"Unknown worker '{name}'")
        return name


def _done(message: str) -> Response:
    return answer({"message": message})


async def _given(request: Request) -> dict[str, str]:
    """Of the form and of the query, whichever says it; the form wins."""
    fields = await form(request)
    return {**request.query_params, **{key: values[-1] for key, values in fields.items()}}


def _required(given: Mapping[str, str], key: str) -> str:
    if not given.get(key):
        raise HTTPException(400, f"Missing argument {key}")
    return given[key]


def _whole(text: str | None, usual: int | None = None) -> int:
    try:
        return int(text) if text or usual is None else usual  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise HTTPException(400, f"{text!r} is not a whole number") from None


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise HTTPException(400, f"{text!r} is not a number of seconds") from None


def _flag(text: str | None) -> bool:
    return (text or "").lower() in {"1", "true", "yes", "on"}


def _minute(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M").astimezone().timestamp()
    except ValueError:
        raise HTTPException(400, "Invalid received_start or received_end, expected format 'YYYY-MM-DD HH:MM'") from None
