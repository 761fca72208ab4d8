"""Tasks sent, and results read, over the JSON API. Owns what Flower's requests mean for a call.

Tasks are sent by name: the monitor need not have them.
"""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException

from amqtask.errors import ResultTimeout
from amqtask.monitor.requests import answer, blocking, body_of, who

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from amqtask.app.app import Amqtask
    from amqtask.monitor.actions import Actions

_MOMENT = "%Y-%m-%d %H:%M:%S.%f"
_WAIT = 30.0
"""Seconds that a result is waited for when the request does not say, and at most."""

_WAITING = 20
"""Results that are waited for at a time; who wants more of them waits for these, and takes no thread from a page."""


class TaskCalls:
    """Handlers of these paths.

    Args:
        app: that sends.
        actions: for the audit log and the read-only mode.
    """

    def __init__(self, app: Amqtask, actions: Actions) -> None:
        self._app, self._actions = app, actions
        self._places = CapacityLimiter(_WAITING)

    async def apply(self, request: Request) -> Response:
        """Send a task that this program has, and wait for its result."""
        args, kwargs, options = await _call(request)
        timeout = _timeout(options.pop("timeout", None))
        sent = await blocking(self._send, request, args, kwargs, options, known=True)
        return answer(await run_sync(self._wait, sent, timeout, limiter=self._places))

    async def async_apply(self, request: Request) -> Response:
        """Send a task that this program has."""
        args, kwargs, options = await _call(request)
        return _sent(await blocking(self._send, request, args, kwargs, options, known=True))

    async def send_task(self, request: Request) -> Response:
        """Send any task."""
        args, kwargs, options = await _call(request)
        return _sent(await blocking(self._send, request, args, kwargs, options, known=False))

    async def result(self, request: Request) -> Response:
        """The result of a task."""
        given = request.query_params.get("timeout")
        timeout = _timeout(given) if given else None
        return answer(await run_sync(self._read, request.path_params["name"], timeout, limiter=self._places))

    def _send(
        self, request: Request, args: list[Any], kwargs: dict[str, Any], options: dict[str, Any], *, known: bool
    ) -> Any:
        name = request.path_params["name"]
        if known and name not in self._app.tasks:
            raise HTTPException(404, f"Unknown task '{name}'")

        def send() -> Any:
            try:
                return self._app.send_task(name, args=args, kwargs=kwargs, **options)
            except (TypeError, ValueError) as error:
                raise HTTPException(400, f"invalid options: {error}") from None

        return self._actions.send(who(request), name, send)

    def _wait(self, sent: Any, timeout: float) -> dict[str, Any]:
        with contextlib.suppress(ResultTimeout):
            sent.get(propagate=False, timeout=timeout)
        return {"task-id": sent.id, **_ended(sent)}

    def _read(self, task_id: str, timeout: float | None) -> dict[str, Any]:
        found = self._app.AsyncResult(task_id)
        if timeout:
            with contextlib.suppress(ResultTimeout):
                found.get(timeout=timeout, propagate=False)
        return {"task-id": task_id, **_ended(found)}


def _ended(found: Any) -> dict[str, Any]:
    state = found.state
    if not found.ready():
        return {"state": state}
    told = {"state": state, "result": _plain(found.result)}
    return told | {"traceback": found.traceback} if state == "FAILURE" else told


def _plain(value: object) -> object:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return repr(value)
    return value


def _sent(sent: Any) -> Response:
    return answer({"task-id": sent.id, "state": "PENDING"})


async def _call(request: Request) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Arguments and options of a call.

    Raises:
        HTTPException: 400 for what is none.
    """
    body = await body_of(request)
    try:
        options = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, str(error)) from None
    if not isinstance(options, dict):
        raise HTTPException(400, "invalid options")
    args, kwargs = options.pop("args", []), options.pop("kwargs", {})
    if not isinstance(args, list):
        raise HTTPException(400, "args must be an array")
    if not isinstance(kwargs, dict):
        raise HTTPException(400, "kwargs must be an object")
    try:
        if "eta" in options:
            options["eta"] = datetime.strptime(options["eta"], _MOMENT)  # noqa: DTZ007 -- as Flower has it
        if "countdown" in options:
            options["countdown"] = float(options["countdown"])
        if "expires" in options:
            options["expires"] = _expires(options["expires"])
    except (TypeError, ValueError):
        raise HTTPException(400, "Invalid option") from None
    return args, kwargs, options


def _expires(given: object) -> float | datetime:
    try:
        return float(given)  # type: ignore[arg-type]
    except ValueError:
        return datetime.strptime(str(given), _MOMENT)  # noqa: DTZ007 -- as Flower has it


def _timeout(given: object) -> float:
    try:
        return _WAIT if given is None else min(_WAIT, max(0.0, float(given)))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise HTTPException(400, "Invalid timeout") from None
