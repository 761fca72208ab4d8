"""`amqtask broker` and `amqtask broker do`, as a user runs them."""

from __future__ import annotations

import json
import signal
import socket

import pytest
from waiting import wait_for

from amqtask import Amqtask, BrokerBlocked, QueueFull


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_url_and_the_banner_and_ends_with_0(terminal, number):
    url = terminal.broker()
    assert url.startswith("amqp://guest:guest@127.0.0.1:")
    wait_for(lambda: terminal.err == "development only: nothing survives a restart\n")
    with Amqtask("shop", broker=url) as app:
        app.send_task("shop.hello")
    (broker,) = terminal.background
    broker.send_signal(number)
    assert broker.wait(30) == 0
    assert terminal.err.count("\n") == 1


def test_vhosts_that_were_named_exist(terminal):
    terminal.broker("--vhost", "shop", "--vhost", "a/b")
    wait_for(lambda: len(terminal.out) == 3)
    assert [url.rpartition("/")[2] for url in terminal.out] == ["", "shop", "a%2Fb"]
    for url in terminal.out:
        with Amqtask("shop", broker=url) as app:
            app.send_task("shop.hello")


def test_a_trace_tells_every_method(terminal):
    url = terminal.broker("--trace")
    with Amqtask("shop", broker=url) as app:
        app.send_task("shop.hello")
    wait_for(lambda: any("basic.ack" in line for line in terminal.out))
    text = "\n".join(terminal.out)
    assert "connection.open" in text
    assert "queue.declare" in text
    assert "basic.publish" in text


def test_a_port_that_is_taken_is_told_with_the_way_out(terminal):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        err = terminal.run("broker", "--port", str(port), code=69).stderr
    assert f"port {port} of 127.0.0.1 is taken" in err
    assert "--port 0" in err
    assert len(err.splitlines()) == 1


def test_a_memory_limit_blocks_publishers(terminal):
    url = terminal.broker("--memory-limit", "10KB", "--control", "control")
    with Amqtask("shop", broker=url, broker_blocked_timeout=1.0) as app:
        app.send_task("shop.hello", ["x" * 20_000])
        with pytest.raises(BrokerBlocked):
            app.send_task("shop.hello")
        memory = terminal.run("broker", "do", "memory", "--json", "--control", "control")
        assert json.loads(memory.stdout)["limit"] == 10_000


def test_others_are_told_when_they_can_come_in(terminal):
    terminal.start("broker", "--port", "0", "--host", "0.0.0.0")
    wait_for(lambda: "Whoever can reach 0.0.0.0:" in terminal.err)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--memory-limit lots", "'lots' is not a size"),
        ("--port 70000", "0<=x<=65535"),
        ("dou", "did you mean 'do'?"),
        ("--port 1 do heal", "--port is for starting a broker"),
        ("do heal", "Give --control PATH"),
        ("do drop_conections", "did you mean 'drop_connections'?"),
        ("do delay_confirms", "delay_confirms SECONDS [VHOST]: seconds is missing"),
        ("do delay_confirms long", "seconds can't be 'long'"),
        ("do unblock now", "'now' is one argument too many"),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(terminal, words, text):
    err = terminal.run("broker", *words.split(), code=64).stderr
    assert text in err
    assert len(err.splitlines()) == 2


def test_nobody_at_the_control_socket_is_exit_69(terminal):
    assert (
        "no dev broker answers at nowhere"
        in terminal.run("broker", "do", "heal", "--control", "nowhere", code=69).stderr
    )


def test_do_looks_into_a_broker_that_runs_and_breaks_it(terminal):
    url = terminal.broker("--control", "control", "--vhost", "shop")
    terminal.environment["AMQTASK_DEV_BROKER_CONTROL"] = "control"
    with Amqtask("shop", broker=url) as app:
        app.send_task("shop.hello", ["ada"])
        rows = json.loads(terminal.run("broker", "do", "queues", "--json").stdout)
        assert {"amqtask": 1}.items() <= {row["name"]: row["ready"] for row in rows}.items()
        table = terminal.run("broker", "do", "connections").stdout
        assert "guest" in table
        assert terminal.run("broker", "do", "drop-connections").stdout == "1\n"
        assert terminal.run("broker", "do", "drop_connections", "vhost=shop").stdout == "0\n"
        *_returned, message = json.loads(terminal.run("broker", "do", "published", "/", "--json").stdout)
        assert message["properties"]["headers"]["task"] == "shop.hello"
        assert terminal.run("broker", "do", "nack_publishes", "50").stdout == ""
        with pytest.raises(QueueFull):
            app.send_task("shop.hello")
    assert "no vhost 'nowhere'" in terminal.run("broker", "do", "queues", "nowhere", code=65).stderr


def test_do_without_a_name_lists_what_can_be_asked(terminal):
    out = terminal.run("broker", "do").stdout
    assert "drop_connections [VHOST]" in out
    assert ":meth:" not in out
    assert "heal [VHOST]" in json.loads(terminal.run("broker", "do", "--json").stdout)
