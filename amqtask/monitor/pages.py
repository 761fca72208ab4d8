"""The pages: what each asks the source for, and its template. Owns the paths people see."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from amqtask.errors import AmqtaskError, TopologyError
from amqtask.monitor import chart, problems
from amqtask.monitor.forms import Forms, Notices
from amqtask.monitor.live import Live
from amqtask.monitor.rendering import HERE, new_environment
from amqtask.monitor.requests import blocking
from amqtask.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from amqtask.monitor.actions import Actions
    from amqtask.monitor.options import Options
    from amqtask.monitor.source import Source
    from amqtask.monitor.views import TaskDetail

TASKS_ON_A_PAGE = 50
LETTERS_ON_A_PAGE = 100
STATES = ("PENDING", "RECEIVED", "STARTED", "RETRY", "SUCCESS", "FAILURE", "DEAD", "REVOKED", "REJECTED")

_FAST = 1
"""Level of compression: a tenth of the size for little time."""

Values = dict[str, Any]


def routes(source: Source, actions: Actions, options: Options) -> list[BaseRoute]:
    """Everything that a browser asks for, with paths as if there were no prefix."""
    return Pages(source, actions, options).routes


class Pages:
    """All pages of one monitor.

    Args:
        source: that tells.
        actions: that the forms call.
        options: of the monitor.
    """

    def __init__(self, source: Source, actions: Actions, options: Options) -> None:
        self._source, self._options = source, options
        self._environment, self._notices, self._growth = new_environment(), Notices(), problems.Growth()
        self._forms = Forms(actions, self._notices, self.render, options.target)

    @property
    def routes(self) -> list[BaseRoute]:
        """Pages, forms, news and files."""
        pages: list[tuple[str, Callable[[Request], Values], str]] = [
            ("/", self._overview, "overview.html"),
            ("/workers", self._workers, "workers.html"),
            ("/worker/{name:path}", self._worker, "worker.html"),
            ("/tasks", self._tasks, "tasks.html"),
            ("/task/{name:path}", self._task, "task.html"),
            ("/queues", self._queues, "queues.html"),
            ("/queue/{name:path}", self._queue, "queue.html"),
            ("/dead", self._dead, "dead.html"),
            ("/dead/{name:path}", self._dead, "dead.html"),
            ("/schedules", self._schedules, "schedules.html"),
        ]
        small = [Middleware(GZipMiddleware, compresslevel=_FAST)]  # open pages ask for themselves again and again
        found: list[BaseRoute] = [
            Route(path, partial(self._answer, gather, template), methods=["GET"], middleware=small)
            for path, gather, template in pages
        ]
        found += self._forms.routes + Live(self._source).routes
        return [*found, Mount("/static", StaticFiles(directory=HERE / "static"), middleware=small)]

    async def _answer(self, gather: Callable[[Request], Values], template: str, request: Request) -> Response:
        return await blocking(self._made, gather, template, request)

    def _made(self, gather: Callable[[Request], Values], template: str, request: Request) -> Response:
        try:
            values = gather(request)
        except HTTPException as error:
            return self.render(request, "missing.html", error.status_code, detail=error.detail)
        except AmqtaskError as error:  # a part of a list that there is not
            return self.render(request, "missing.html", 400, detail=str(error))
        return self.render(request, template, **values)

    def render(self, request: Request, template: str, status: int = 200, /, **values: Any) -> Response:
        """A page of a template, with what stands on every page."""
        root = request.scope.get("root_path", "")
        common = {
            "root": root,
            "path": request.url.path.removeprefix(root),
            "said": self._notices.get(request.query_params.get("said")),
            "options": self._options,
            "overview": self._source.overview(),
            "version": __version__,
            "live": request.method == "GET",
        }
        text = self._environment.get_template(template).render(common | values)
        return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})

    # -- what each page shows -----------------------------------------------------------------------------------------

    def _overview(self, _: Request) -> Values:
        overview, queues, schedules = self._source.overview(), self._source.queues(), self._source.schedules()
        growth = self._growth.add(queues)
        found = problems.find_problems(overview, queues, schedules, growth)
        return {"queues": queues, "problems": found, "chart": chart.draw(overview.minutes), "overview": overview}

    def _workers(self, _: Request) -> Values:
        return {"workers": self._source.workers()}

    def _worker(self, request: Request) -> Values:
        name = request.path_params["name"]
        if (found := self._source.worker(name)) is None:
            raise HTTPException(404, f"No worker {name[:200]} has been heard of.")
        known = {queue.name for queue in self._source.queues().rows}
        return {"detail": found, "worker": found.worker, "other_queues": sorted(known - set(found.queues))}

    def _tasks(self, request: Request) -> Values:
        wanted = {key: request.query_params.get(key, "").strip() for key in ("state", "name", "worker", "search")}
        before = request.query_params.get("before") or None
        given: Any = {key: value or None for key, value in wanted.items()}
        page = self._source.tasks(**given, limit=TASKS_ON_A_PAGE, before=before)
        return {"page": page, "wanted": wanted, "before": before, "states": STATES}

    def _task(self, request: Request) -> Values:
        name = request.path_params["name"]
        if (found := self._source.task(name)) is None:
            raise HTTPException(
                404,
                f"Nothing is known of task {name[:200]}: its events came before the monitor knows of, were not sent,"
                f" or have been forgotten for later ones.",
            )
        children = [child for child in found.children if child.id != found.row.id]  # a retry is sent by the task itself
        return {"task": found, "row": found.row, "children": children, "ancestors": self._ancestors(found)}

    def _ancestors(self, task: TaskDetail) -> list[tuple[str, str | None, str | None]]:
        """(id, name, state) of the root and the parent, the root first; each once, the task itself not."""
        found: list[tuple[str, str | None, str | None]] = []
        for one in dict.fromkeys((task.root, task.parent)):
            if one is not None and one != task.row.id:
                known = self._source.task(one)
                found.append((one, known.row.name, known.row.state) if known else (one, None, None))
        return found

    def _queues(self, _: Request) -> Values:
        return {"queues": self._source.queues()}

    def _queue(self, request: Request) -> Values:
        name, queues = request.path_params["name"], self._source.queues()
        for queue in queues.rows:
            if queue.name == name:
                return {"queues": queues, "queue": queue}
        raise HTTPException(404, f"The topology has no queue {name[:200]}.")

    def _dead(self, request: Request) -> Values:
        queues = self._source.queues()
        filled = [row.name for row in queues.rows if row.dead]
        name = request.path_params.get("name") or next(iter(filled), None)
        letters = None
        if name is not None:
            with contextlib.suppress(TopologyError):
                letters = self._source.dead_letters(name, LETTERS_ON_A_PAGE)
            if letters is None:
                raise HTTPException(404, f"The topology has no queue {name[:200]}.")
        return {"queues": queues, "letters": letters}

    def _schedules(self, _: Request) -> Values:
        return {"schedules": self._source.schedules(), "is_late": problems.is_late}
