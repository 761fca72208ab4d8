"""Answers Prometheus for a scheduler. Owns nothing but the way from its figures to the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.http_server import Answer, HttpServer
from amqtask.worker.metrics.endpoint import new_endpoint
from amqtask.worker.metrics.page import CONTENT_TYPE, beat_page

if TYPE_CHECKING:
    from amqtask.beat.pulse import Pulse
    from amqtask.worker.http_server import Reply


def beat_server(pulse: Pulse, entries: int, where: str) -> HttpServer:
    """A server that is to be started.

    Args:
        pulse: of the scheduler.
        entries: how many periodic tasks its app has.
        where: ``[HOST]:PORT``.

    Raises:
        ConfigError: ``where`` is not an address, or not one to listen on.
    """

    def tell(reply: Reply) -> None:
        reply(lambda: Answer(200, beat_page(pulse, entries), CONTENT_TYPE))

    return new_endpoint(where, tell)
