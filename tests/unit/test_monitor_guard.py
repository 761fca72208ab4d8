"""What the monitor lets in, and what it refuses before any page or API sees it."""

from __future__ import annotations

import base64

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from amqtask.errors import ConfigError
from amqtask.monitor.guard import Guard
from amqtask.monitor.options import Options, is_loopback, read_auth, read_host, read_prefix
from amqtask.monitor.requests import who

AUTH = Options(basic_auth=("ann", "s:ecret"))


ODD = Options(basic_auth=("ann", "caf\udce9"))  # of an environment that is not UTF-8


def client(options=None, base_url="http://127.0.0.1:5555"):
    async def answer(request):
        return PlainTextResponse(who(request))

    routes = [Route(path, answer, methods=["GET", "POST"]) for path in ("/", "/healthcheck", "/x/healthcheck")]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, options=options or Options())])
    return TestClient(app, base_url=base_url)


def basic(text):
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize("host", ["127.0.0.1:5555", "localhost:5555", "localhost", "[::1]:5555", "127.8.8.8"])
def test_it_answers_to_the_names_of_its_own_machine(host):
    assert client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5555", "127.0.0.1.evil.example", "", "[::1", "10.0.0.1"]
)
def test_a_name_that_somebody_else_has_point_here_is_refused(host):
    assert client().get("/", headers={"Host": host}).status_code == 421


def test_a_name_that_was_allowed_is_answered_and_others_are_not():
    guarded = client(Options(allowed_hosts=("Mon.example:80",)))
    for host in ("mon.example", "MON.example:5555"):
        assert guarded.get("/", headers={"Host": host}).status_code == 200
    assert guarded.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert client(Options(allowed_hosts=None)).get("/", headers={"Host": "evil.example"}).status_code == 200


def test_user_and_password_are_asked_for():
    refused = client(AUTH).get("/")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    for wrong in ("ann:", "ann:wrong", "bob:s:ecret", ":s:ecret", "ann", "é:ü", ""):
        assert client(AUTH).get("/", headers=basic(wrong)).status_code == 401, wrong
    for broken in ("Basic", "Basic ???", "Bearer x", "Basic /w=="):
        assert client(AUTH).get("/", headers={"Authorization": broken}).status_code == 401, broken
    assert client(ODD).get("/", headers=basic("ann:x")).status_code == 401
    let_in = client(AUTH).get("/", headers=basic("ann:s:ecret"))
    assert (let_in.status_code, let_in.text) == (200, "ann@testclient")


def test_a_name_that_nobody_has_checked_is_not_written_down():
    assert client().get("/", headers=basic("root:x")).text == "testclient"


def test_load_balancers_need_neither_password_nor_name():
    assert client(AUTH).get("/healthcheck", headers={"Host": "10.0.0.1"}).status_code == 200
    for trick in ("//healthcheck", "/healthcheck/", "/healthcheck/../", "/%2e/healthcheck"):
        assert client(AUTH).get(trick).status_code == 401, trick
    assert client(AUTH).get("/x/healthcheck").status_code == 401
    prefixed = client(Options(basic_auth=("ann", "x"), url_prefix="/x"))
    assert prefixed.get("/x/healthcheck").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:5555"},
    ],
)
def test_a_page_elsewhere_can_not_change_anything(headers):
    assert client().post("/", headers=headers).status_code == 403
    assert client().get("/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:5555"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://ops.example"},  # of a proxy that changes Host
        {"Origin": "https://127.0.0.1:5555"},
    ],
)
def test_its_own_pages_and_programs_can(headers):
    assert client().post("/", headers=headers).status_code == 200


def test_a_read_only_monitor_answers_questions_only():
    guarded = client(Options(read_only=True))
    assert guarded.get("/").status_code == 200
    assert guarded.post("/").status_code == 403
    assert guarded.request("DELETE", "/").status_code == 403


def test_a_websocket_is_refused():
    with pytest.raises(WebSocketDisconnect), client().websocket_connect("/"):
        pass


def test_every_answer_says_what_browsers_may_not_do_with_it():
    for answer in (client().get("/"), client().get("/", headers={"Host": "evil"}), client().get("/none")):
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'; frame-ancestors 'none'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"


def test_options_that_can_not_be_meant_are_refused():
    assert [read_prefix(text) for text in ("", "/", "mon", "/mon/", "/a/b")] == ["", "", "/mon", "/mon", "/a/b"]
    for text in ("a b", "/x/..", "/{z}", "ä"):
        with pytest.raises(ConfigError, match="--url-prefix"):
            read_prefix(text)
    assert read_auth("ann:a:b") == ("ann", "a:b")
    for text in ("ann", "ann:", ":x", ""):
        with pytest.raises(ConfigError) as caught:
            read_auth(text)
        assert text not in str(caught.value) or not text
    assert "secret" not in repr(Options(basic_auth=("ann", "secret")))
    for text in ("https://ops.example.org/", "", "[::"):
        with pytest.raises(ConfigError, match="--allowed-host"):
            read_host(text)
    assert [is_loopback(text) for text in ("localhost", "127.1.2.3", "::1", "0.0.0.0", "::", "x")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
