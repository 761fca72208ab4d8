"""dev:// URLs: one dev broker for a tree of processes, started when needed and ended with its starter."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from waiting import wait_for

from amqtask import Amqtask
from amqtask.app import dev
from amqtask.broker.url import BrokerURL, dev_vhost
from amqtask.errors import ConfigError

APP = """
import json, os, signal, subprocess, sys, threading
from amqtask import Amqtask
from amqtask.app import dev

app = Amqtask("shop", broker="dev://")


@app.task(name="shop.hello")
def hello(name):
    return f"hello {name}"


def tell(**facts):
    print(json.dumps(facts), flush=True)
"""


class Program:
    """A Python program with an app on dev://; what it tells is one JSON object per line."""

    def __init__(self, folder: Path, code: str, **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AMQTASK_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", APP + textwrap.dedent(code)],
            cwd=folder,
            env=environment | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def facts(self) -> dict:
        """What it tells next."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> tuple[int, str]:
        """Its exit code and its errors."""
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@pytest.fixture
def program(tmp_path):
    started: list[Program] = []

    def start(code: str, **variables: str) -> Program:
        started.append(Program(tmp_path, code, **variables))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        for pipe in (one.process.stdin, one.process.stdout, one.process.stderr):
            pipe.close()


def listens(url: str) -> bool:
    place = BrokerURL.parse(url)
    with socket.socket() as client:
        return client.connect_ex((place.host, place.port)) == 0


# -- notation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "vhost"),
    [
        ("dev://", "/"),
        ("dev:///", "/"),
        ("dev:///shop", "shop"),
        ("dev:///a%2Fb", "a/b"),
        (("dev://",), "/"),
        ("amqp://localhost/", None),
        (("amqp://a/", "amqp://b/"), None),
    ],
)
def test_a_dev_url_names_a_vhost(url, vhost):
    assert dev_vhost(url) == vhost


@pytest.mark.parametrize(
    "url", ["dev://localhost", "dev://:5672/", "dev://?heartbeat=3", "dev:///shop?x=1", "dev://u:pw@h/"]
)
def test_a_dev_url_with_a_host_or_parameters_is_refused(url):
    with pytest.raises(ConfigError, match="write dev:// or dev:///vhost") as caught:
        dev_vhost(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("urls", ["dev://;amqp://localhost/", ("amqp://localhost/", "dev://"), ("dev://", "dev:///b")])
def test_a_dev_url_stands_alone(urls):
    with pytest.raises(ConfigError, match="can't be combined"):
        dev_vhost(urls)


def test_a_dev_url_is_no_address():
    with pytest.raises(ConfigError, match="dev:// is for the setting broker_url"):
        BrokerURL.parse("dev://")


def test_an_app_refuses_a_wrong_dev_url_when_it_needs_the_broker():
    with pytest.raises(ConfigError, match="dev:///vhost"):
        _ = Amqtask("shop", broker="dev://localhost").broker_urls


def test_the_variables_of_the_tree_are_not_taken_for_misspelt_settings(monkeypatch, caplog):
    monkeypatch.setenv(dev.URL_VARIABLE, "amqp://guest:guest@127.0.0.1:9/")
    monkeypatch.setenv(dev.CONTROL_VARIABLE, "/nowhere")
    _ = Amqtask("shop").settings
    assert not caplog.records


# -- the tree -----------------------------------------------------------------------------------------------------


def test_one_broker_is_started_and_said_once_and_ends_with_the_program(program):
    one = program("""
        hello.delay("ada")
        hello.delay("grace")
        tell(url=os.environ[dev.URL_VARIABLE], control=os.environ[dev.CONTROL_VARIABLE])
    """)
    facts = one.facts()
    code, errors = one.end()
    assert code == 0
    notes = errors.splitlines()
    assert len(notes) == 1
    assert "development only: nothing survives a restart" in notes[0]
    assert notes[0].endswith(f"export AMQTASK_DEV_BROKER_URL={facts['url']}")
    assert not listens(facts["url"])
    assert not Path(facts["control"]).exists()


def test_the_note_names_the_setting_where_that_is_what_chose_the_broker(program):
    one = program("Amqtask('other').broker_urls", AMQTASK_BROKER_URL="dev:///shop")
    code, errors = one.end()
    assert code == 0
    assert "export AMQTASK_BROKER_URL=amqp://guest:guest@127.0.0.1:" in errors
    assert errors.endswith("/shop\n")


def test_threads_share_one_broker(program):
    one = program("""
        threads = [threading.Thread(target=hello.delay, args=("ada",)) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """)
    code, errors = one.end()
    assert (code, errors.count("started a dev broker")) == (0, 1)


def test_children_use_the_broker_of_their_parent(program):
    one = program("""
        hello.delay("ada")
        child = [sys.executable, "-c", "from amqtask import Amqtask; print(Amqtask('x', broker='dev:///b').broker_urls[0].where)"]
        said = subprocess.run(child, capture_output=True, text=True)
        reading, writing = os.pipe()
        if not os.fork():
            os.write(writing, str(app.broker_urls[0].where).encode())
            os._exit(0)
        os.wait()
        fork = os.read(reading, 99).decode()
        tell(here=app.broker_urls[0].where, child=said.stdout.strip(), errors=said.stderr, fork=fork)
    """)
    facts = one.facts()
    assert one.end()[0] == 0
    assert facts["here"] == facts["child"] == facts["fork"]
    assert facts["errors"] == ""


def test_another_terminal_can_use_it_by_the_variable(program):
    one = program("""
        tell(url=str(app.broker_urls[0]), full=dev.client_url("/"))
        sys.stdin.read()
    """)
    url = one.facts()["full"]
    other = program("hello.delay('ada'); tell(where=app.broker_urls[0].where)", AMQTASK_DEV_BROKER_URL=url)
    assert other.facts()["where"] == BrokerURL.parse(url).where
    assert other.end() == (0, "")
    assert listens(url)


def test_every_vhost_that_is_named_exists(program):
    one = program("""
        for name in ("", "/shop", "/a%2Fb"):
            Amqtask("x", broker="dev://" + name).send_task("nobody.knows")
        tell(ok=True)
    """)
    assert one.facts() == {"ok": True}
    assert one.end()[0] == 0


def test_the_broker_ends_even_if_its_program_is_killed(program):
    one = program("""
        hello.delay("ada")
        child = os.fork()
        if not child:
            signal.pause()  # it lives on, and must not keep the broker
        tell(url=dev.client_url("/"), child=child)
        signal.pause()
    """)
    facts = one.facts()
    try:
        assert listens(facts["url"])
        one.process.kill()
        wait_for(lambda: not listens(facts["url"]))
    finally:
        os.kill(facts["child"], signal.SIGKILL)


def test_a_broker_that_has_died_is_one_clear_error_and_no_empty_broker_takes_its_place(program):
    one = program(
        """
        import asyncio
        from amqtask import AmqtaskError
        hello.delay("ada")
        broker = dev._Tree.started.process
        broker.kill()
        broker.wait()
        for send in (
            lambda: hello.delay("ada"),
            lambda: hello.delay_many([("ada",), ("grace",)]),
            lambda: asyncio.run(hello.adelay("ada")),
            lambda: Amqtask("other", broker="dev:///other").send_task("x"),
        ):
            try:
                send()
            except AmqtaskError as error:
                tell(kind=type(error).__name__, text=str(error))
    """,
        AMQTASK_BROKER_CONFIRM_TIMEOUT="600",
    )
    for _ in range(4):
        facts = one.facts()
        assert facts["kind"] == "DevBrokerGone", facts
        assert "has ended, and everything it held is gone" in facts["text"]
    assert one.end()[1].count("started a dev broker") == 1


def test_a_broker_that_cannot_start_is_an_error_with_the_reason(program, tmp_path):
    (tmp_path / "pamqp.py").write_text("raise ImportError('pamqp is broken here')")
    one = program("""
        from amqtask.errors import BrokerUnavailable
        try:
            dev.start()
        except BrokerUnavailable as error:
            tell(text=str(error))
    """)
    assert "pamqp is broken here" in one.facts()["text"]
