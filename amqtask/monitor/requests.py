"""What handlers need: who sends a request, its form, an answer in JSON, a thread for what blocks. Owns that."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool as blocking
from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

__all__ = ["answer", "basic_credentials", "blocking", "body_of", "form", "who"]

BODY_MAX = 1024 * 1024
"""Bytes of a request."""

_FIELDS_MAX = 10_000


def basic_credentials(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password that a request gives; None without."""
    kind, _, encoded = headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, password) if colon else None


def who(request: Request) -> str:
    """Who sends a request, for the audit log: the user, if there is one, and where it comes from."""
    found = basic_credentials(request.headers)
    place = request.client.host if request.client else "unknown"
    return f"{found[0]}@{place}" if found and request.scope.get("amqtask.authenticated") else place


def answer(content: object) -> Response:
    """An answer in JSON. In ASCII: half a character, which JSON can say and UTF-8 can't, has to come out again."""
    return Response(json.dumps(content), media_type="application/json")


async def body_of(request: Request) -> bytes:
    """The body of a request.

    Raises:
        HTTPException: 413 for more than a megabyte.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
            raise HTTPException(413, "the request is too large")
    return body


async def form(request: Request) -> dict[str, list[str]]:
    """The fields of a form, sent as browsers do without files.

    Raises:
        HTTPException: 400 for what is none, 413 for too much.
    """
    try:
        body = (await body_of(request)).decode()
        return parse_qs(body, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise HTTPException(400, "the form can't be read") from None
