"""The broker as a process of its own, and the control socket that leads to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dev_clients import opened
from waiting import wait_for

from amqtask.testing.devbroker import ControlClient, DevBroker
from amqtask.testing.devbroker.commands import CommandError


@contextlib.contextmanager
def running(*options: str) -> Iterator[subprocess.Popen[str]]:
    """``python -m amqtask.testing.devbroker``."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "amqtask.testing.devbroker", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def controlled(path: Path) -> Iterator[ControlClient]:
    with DevBroker(control=path):
        yield ControlClient(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_url_and_ends_with_a_signal(number: signal.Signals):
    with running() as process:
        banner = [process.stdout.readline() for _ in range(2)]
        url = banner[0].split()[-1]
        assert banner[1] == "development only: nothing survives a restart\n"
        with opened(url) as channel:
            channel.queue_declare("q")
            process.send_signal(number)
            assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_it_announces_itself_in_json_and_ends_with_its_standard_input(path: Path):
    with running("--announce", "--control", str(path), "--vhost", "mine", "--user", "ann:secret") as process:
        announced = json.loads(process.stdout.readline())
        assert announced["pid"] == process.pid
        assert announced["control"] == str(path)
        assert announced["url"].startswith("amqp://ann:secret@127.0.0.1:")
        assert ControlClient(path).vhosts() == ["/", "mine"]
        with opened(announced["url"] + "mine") as channel:
            channel.queue_declare("q")
        process.stdin.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    assert not path.exists()


def test_it_traces_what_is_said():
    with running("--trace", "--announce") as process:
        url = json.loads(process.stdout.readline())["url"]
        with opened(url) as channel:
            channel.queue_declare("q")
            channel.basic_publish("", "q", b"hello", mandatory=True)
        process.stdin.close()
        lines = process.stdout.read().splitlines()
    assert "→ conn 1 ch 1 queue.declare queue='q'" in lines
    assert "← conn 1 ch 1 queue.declareok queue='q' message_count=0 consumer_count=0" in lines
    assert "→ conn 1 ch 1 basic.publish routing_key='q' mandatory 5 bytes" in lines
    assert "← conn 1 ch 1 basic.ack delivery_tag=1" in lines
    assert not any("guest" in line for line in lines)


def test_it_warns_when_others_can_reach_it():
    with running("--host", "0.0.0.0") as process:
        assert "other machines can reach it" in [process.stdout.readline() for _ in range(3)][-1]


def test_a_taken_port_is_told_in_one_line():
    with DevBroker() as broker, running("--port", str(broker.port)) as process:
        assert process.wait(60) == 1
        error = process.stderr.read()
        assert "Address already in use" in error
        assert len(error.splitlines()) == 1


def test_idle_it_takes_less_than_40_mb():
    with running("--announce") as process:
        process.stdout.readline()
        status = Path(f"/proc/{process.pid}/status").read_text()
        [resident] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
        assert int(resident) < 40_000


def test_every_command_works_through_the_socket(controlled: ControlClient):
    controlled.add_vhost("mine")
    assert controlled.vhosts() == ["/", "mine"]
    assert controlled.queues("mine") == []
    assert controlled.connections() == []
    assert controlled.memory() == {"used": 0, "limit": 256 << 20}
    controlled.delay_confirms(0.5, "mine")
    controlled.heal()
    controlled.advance(3600)
    assert controlled.drop_connections() == 0
    controlled.delete_vhost("mine")
    assert controlled.vhosts() == ["/"]


def test_only_its_user_may_open_the_socket(controlled: ControlClient):
    mode = controlled.path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"{", "Expecting property name"),
        (b"[]", "a request is an object"),
        (b"{}", "a request is an object"),
        (b'{"do": "_known"}', "no command '_known'"),
        (b'{"do": "run"}', "no command 'run'"),
        (b'{"do": "explode"}', "no command 'explode'"),
        (b'{"do": "queues"}', "queues: missing a required argument: 'vhost'"),
        (b'{"do": "vhosts", "x": 1}', "vhosts: got an unexpected keyword argument 'x'"),
        (b'{"do": "queues", "vhost": "x"}', "no vhost 'x'"),
        (b'{"do": "advance", "seconds": -1}', "time can't go back"),
        (b'{"do": "advance", "seconds": "x"}', "TypeError"),
        (b"\xff", "can't decode"),
    ],
)
def test_a_wrong_request_is_answered_and_the_next_one_too(controlled: ControlClient, line: bytes, error: str):
    with socket.socket(socket.AF_UNIX) as client, client.makefile("rwb") as stream:
        client.connect(str(controlled.path))
        stream.write(line + b'\n{"do": "vhosts"}\n')
        stream.flush()
        assert error in json.loads(stream.readline())["error"]
        assert json.loads(stream.readline()) == {"ok": ["/"]}


def test_a_refused_command_is_an_error_in_the_client(controlled: ControlClient):
    with pytest.raises(CommandError, match="no vhost 'x'"):
        controlled.queues("x")


def test_a_dead_socket_is_replaced_and_a_living_one_is_not(path: Path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with DevBroker(control=path):
        assert ControlClient(path).vhosts() == ["/"]
        with pytest.raises(OSError, match="Address already in use"):
            DevBroker(control=path).start()
        assert ControlClient(path).vhosts() == ["/"]
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        ControlClient(path).vhosts()


def test_a_client_that_stays_connected_does_not_keep_the_broker_from_ending(path: Path):
    broker = DevBroker(control=path).start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b'{"do": "vho')
        broker.vhosts()
        broker.stop()
        assert client.recv(1) == b""


def test_it_ends_with_the_process_that_started_it(tmp_path: Path):
    starter = (
        "import subprocess, sys, os\n"
        "child = subprocess.Popen([sys.executable, '-m', 'amqtask.testing.devbroker', '--announce'],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), flush=True)\n"
        "os._exit(0)\n"
    )
    run = subprocess.run([sys.executable, "-c", starter], capture_output=True, text=True, timeout=60, check=True)
    pid = json.loads(run.stdout)["pid"]

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()

    wait_for(gone)
