"""The forms of the pages: a POST that asks first where it has to, acts, and leads back with a line of what was done.

Owns that course and the lines; what the forms do is in deeds.py. It works without JavaScript.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from amqtask.errors import AmqtaskError
from amqtask.monitor.deeds import DEEDS, Fields
from amqtask.monitor.requests import blocking, form, who

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from amqtask.monitor.actions import Actions
    from amqtask.monitor.deeds import Deed

Said = tuple[bool, str]
"""Was it done, and what to tell."""

_KEPT = 200
_LINE = 500
_CONFIRMED = "confirmed"


class Notices:
    """Lines that a page shows once after a form, by a token that stands in its address. Thread-safe."""

    def __init__(self) -> None:
        self._lock, self._kept = threading.Lock(), dict[str, Said]()

    def put(self, done: bool, text: str) -> str:
        """Keep a line; returns its token."""
        token = secrets.token_urlsafe(9)
        with self._lock:
            self._kept[token] = (done, text[:_LINE])
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return token

    def get(self, token: str | None) -> Said | None:
        """The line of a token; None: there is none (any more)."""
        with self._lock:
            return self._kept.get(token or "")


class Forms:
    """All forms of one monitor.

    Args:
        actions: that they call.
        notices: where they leave what was done.
        render: makes a page of a template and its values.
        target: what ``-A`` says, for the commands that are shown.
    """

    def __init__(self, actions: Actions, notices: Notices, render: Callable[..., Response], target: str) -> None:
        self._actions, self._notices, self._render, self._target = actions, notices, render, target

    @property
    def routes(self) -> list[Route]:
        """``/do/<deed>``."""
        return [Route("/do/{deed}", self.act, methods=["POST"])]

    async def act(self, request: Request) -> Response:
        """Ask, or act and lead back."""
        deed, fields = DEEDS.get(request.path_params["deed"]), Fields(await form(request))
        if deed is None:
            raise HTTPException(404, "There is no such action.")
        return await blocking(self._act, request, deed, fields)

    def _act(self, request: Request, deed: Deed, fields: Fields) -> Response:
        try:
            question = None if fields.maybe(_CONFIRMED) else deed.question(fields)
            if question is not None:
                pairs = [(name, value) for name, values in fields.given.items() for value in values]
                command, back = question.line(self._target), deed.back(fields)
                return self._render(request, "confirm.html", question=question, pairs=pairs, command=command, back=back)
            said = (True, deed.run(self._actions, who(request), fields))
        except AmqtaskError as error:
            said = (False, str(error))
        root = request.scope.get("root_path", "")
        return RedirectResponse(f"{root}{deed.back(fields)}?said={self._notices.put(*said)}", 303)
