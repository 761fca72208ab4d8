"""Who is let in, and to what. Owns the checks that every request passes before anything else sees it.

- the name it is for, so that a page elsewhere can't have its own name resolve to this machine (DNS rebinding);
- user and password, compared in constant time;
- that a change comes from this monitor's own pages, or from a program, and not from a page elsewhere;
- that a read-only monitor is not asked for changes.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from amqtask.monitor.options import host_name, is_loopback
from amqtask.monitor.requests import basic_credentials

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from amqtask.monitor.options import Options

_SAFE = frozenset({"GET", "HEAD"})
_OPEN = "/healthcheck"
"""What load balancers ask without a password, by whatever name."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware.

    Args:
        inner: what is guarded.
        options: of the monitor.
    """

    def __init__(self, inner: ASGIApp, options: Options) -> None:
        self._inner, self._options = inner, options
        allowed = options.allowed_hosts
        self._hosts = None if allowed is None else frozenset(map(host_name, allowed))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "websocket":  # no page has one
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-cache" if "etag" in headers else "no-store")
            await send(message)

        refused = self._refused(scope)
        await (self._inner if refused is None else refused)(scope, receive, sending)

    def _refused(self, scope: Scope) -> Response | None:
        headers, options = Headers(scope=scope), self._options
        path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
        if path == f"{options.url_prefix}{_OPEN}":
            return None
        if not self._is_known_as(headers.get("host", "")):
            return _no(421, "this monitor is not known by that name: --allowed-host NAME lets it be")
        if options.basic_auth is not None:
            given = basic_credentials(headers)
            if given is None or not _same(given, options.basic_auth):
                challenge = {"WWW-Authenticate": 'Basic realm="amqtask monitor", charset="UTF-8"'}
                return _no(401, "user and password, please", challenge)
            scope["amqtask.authenticated"] = True
        if scope["method"] in _SAFE:
            return None
        if not _is_own(headers):
            return _no(403, "refused: the request comes from a page elsewhere")
        return _no(403, "Read only mode is enabled") if options.read_only else None

    def _is_known_as(self, host: str) -> bool:
        name = host_name(host)
        return self._hosts is None or name in self._hosts or is_loopback(name)


def _no(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers)


def _same(given: tuple[str, str], wanted: tuple[str, str]) -> bool:
    # both at once: how long it takes tells nothing of either, and a user has no colon
    one, other = (":".join(both).encode(errors="surrogateescape") for both in (given, wanted))
    return secrets.compare_digest(one, other)


def _is_own(headers: Headers) -> bool:
    """Browsers say where a request comes from, and pages can't change what they say; programs say nothing."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:  # it is right behind a proxy that changes Host, too; not all browsers say it over plain HTTP
        return site in {"same-origin", "none"}
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
