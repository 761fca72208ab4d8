"""``amqtask monitor`` as it is started: what it refuses, in one line each."""

from __future__ import annotations

import socket
import sys

import pytest

from amqtask.cli.exits import CONFIG
from amqtask.cli.main import main

REFUSED = [
    (["--address", "0.0.0.0"], "--basic-auth"),
    (["--address", "::"], "--no-auth"),
    (["--basic-auth", "ann"], "USER:PASSWORD"),
    (["--url-prefix", "/a b"], "--url-prefix"),
    (["--address", "no.such.host.invalid", "--no-auth"], "can't listen on no.such.host.invalid:5555"),
    (["--address", "192.0.2.1", "--no-auth"], "can't listen on 192.0.2.1:5555"),
]


@pytest.mark.parametrize(("words", "reason"), REFUSED)
def test_what_can_not_be_meant_is_refused(capsys, words, reason):
    assert main(["-b", "amqp://127.0.0.1:1/", "monitor", *words]) == CONFIG
    error = capsys.readouterr().err
    assert reason in error
    assert error.startswith("Error: ")
    assert "Traceback" not in error


def test_a_port_that_is_taken_is_said_to_be(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["-b", "amqp://127.0.0.1:1/", "monitor", "--port", str(port)]) == CONFIG
    assert f"127.0.0.1:{port}: another process listens there" in capsys.readouterr().err


def test_without_its_packages_it_names_the_extra(capsys, monkeypatch):
    for name in [
        name for name in sys.modules if name.partition(".")[0] == "uvicorn" or name == "amqtask.monitor.server"
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("amqtask.monitor.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["-b", "amqp://127.0.0.1:1/", "monitor"]) == CONFIG
    assert "pip install 'amqtask[monitor]'" in capsys.readouterr().err
