"""Tells open pages that something has changed, as server-sent events. Owns how often, and how many may listen.

Only that there is news is told; a page then asks for itself again. So what it shows has one source.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from amqtask import clock
from amqtask.monitor.requests import blocking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from amqtask.monitor.source import Source

MAX_LISTENERS = 100
"""Pages beyond them ask by themselves from time to time."""

LOOK = 1.0
"""Seconds between two looks; so also the least time between two events."""

EVERY = 5.0
"""An event at least this often: what only the broker knows (queues, dead letters) tells of no change."""


class Live:
    """The listeners of one monitor.

    Args:
        source: its version says whether there is news.
    """

    def __init__(self, source: Source) -> None:
        self._source, self._listeners = source, 0

    @property
    def routes(self) -> list[Route]:
        """``/live``."""
        return [Route("/live", self.listen, methods=["GET"])]

    async def listen(self, request: Request) -> Response:
        """The stream of one page; 503 when there are too many."""
        if self._listeners >= MAX_LISTENERS:
            return PlainTextResponse("too many pages listen", 503, headers={"Retry-After": "10"})
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._news(request), media_type="text/event-stream", headers=headers)

    async def _news(self, request: Request) -> AsyncIterator[str]:
        stopping: asyncio.Event = request.app.state.stopping
        self._listeners += 1
        try:
            known, told = await blocking(self._source.version), clock.monotonic()
            yield "retry: 3000\n\n"
            while not stopping.is_set() and not await request.is_disconnected():
                try:
                    await asyncio.wait_for(stopping.wait(), LOOK)
                except TimeoutError:
                    version, now = await blocking(self._source.version), clock.monotonic()
                    if version != known or now - told >= EVERY:
                        known, told = version, now
                        yield f"event: news\ndata: {version}\n\n"
        finally:
            self._listeners -= 1
