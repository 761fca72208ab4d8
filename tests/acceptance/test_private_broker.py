"""scripts/rabbitmq, as the other scripts and contributors use it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import psutil
import pytest
from private_broker.processes import free_ports

pytestmark = pytest.mark.rabbitmq_only("private RabbitMQ nodes")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "rabbitmq"

UNAVAILABLE = 77

LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
"""127.0.0.1 and ::1, as the kernel shows them."""


def script(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AMQTASK_", "BROKER_"))}
    return subprocess.run(
        [str(SCRIPT), *arguments], env=kept | variables, capture_output=True, text=True, check=False, timeout=120
    )


def addresses(output: str) -> dict[str, str]:
    lines = (line.removeprefix("export ").partition("=") for line in output.splitlines())
    return {name: "".join(shlex.split(value)) for name, _, value in lines}


@pytest.fixture(scope="module")
def node():
    started = script("start", "--temporary")
    assert started.returncode == 0, started.stderr
    found = addresses(started.stdout)
    yield found
    script("stop", "--purge", "--state", found["BROKER_STATE"])


def listening_addresses() -> dict[int, set[str]]:
    """Port -> local addresses (hexadecimal, as the kernel shows them) of this machine's listening sockets."""
    found: dict[int, set[str]] = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A":
                address, _, port = local.partition(":")
                found.setdefault(int(port, 16), set()).add(address)
    return found


def test_a_node_listens_on_loopback_only(node):
    ports = json.loads((Path(node["BROKER_STATE"]) / "node.json").read_text())["ports"][:4]  # the fifth is TLS
    listening = listening_addresses()
    assert all(listening.get(port, set()) and listening[port] <= LOOPBACK for port in ports)


def test_start_again_gives_the_same_node(node):
    again = script("start", "--state", node["BROKER_STATE"])
    assert addresses(again.stdout) == node
    assert script("url", "--state", node["BROKER_STATE"]).stdout.strip() == node["AMQTASK_BROKER_URL"]
    assert script("status", "--state", node["BROKER_STATE"]).returncode == 0


def test_other_options_are_refused_while_it_runs(node):
    refused = script("start", "--tls", "--state", node["BROKER_STATE"])
    assert refused.returncode == 69
    assert "other options" in refused.stderr


def test_a_second_node_lives_beside_it_and_leaves_nothing_behind(node):
    second = addresses(script("start", "--temporary").stdout)
    assert second["AMQTASK_BROKER_URL"] != node["AMQTASK_BROKER_URL"]
    assert script("stop", "--purge", "--state", second["BROKER_STATE"]).returncode == 0
    assert not Path(second["BROKER_STATE"]).exists()
    left = [one.pid for one in psutil.process_iter(["cmdline"]) if second["BROKER_STATE"] in str(one.info["cmdline"])]
    assert not left  # its port may be somebody else's already
    assert script("status", "--state", node["BROKER_STATE"]).returncode == 0


@pytest.mark.parametrize("command", ["start", "url", "env", "status"])
def test_a_broker_named_in_the_environment_wins_and_nothing_is_started(command, tmp_path):
    answer = script(command, "--state", str(tmp_path / "none"), AMQTASK_BROKER_URL="amqp://there/")
    assert answer.returncode == 0
    assert "amqp://there/" in answer.stdout
    assert not (tmp_path / "none").exists()


def test_a_port_is_given_to_one_only():
    given = [port for _ in range(60) for port in free_ports(5)]
    assert len(set(given)) == len(given)


def test_stop_without_a_node_is_harmless(tmp_path):
    assert script("stop", "--purge", "--state", str(tmp_path / "none")).returncode == 0
    assert script("status", "--state", str(tmp_path / "none")).returncode == 3


@pytest.fixture(scope="module")
def newest():
    started = script("start", "--version", "newest", "--temporary")
    if started.returncode == UNAVAILABLE:
        pytest.skip(started.stderr.strip())
    assert started.returncode == 0, started.stderr
    found = addresses(started.stdout)
    yield found
    script("stop", "--purge", "--state", found["BROKER_STATE"])


def test_another_version_is_the_same_to_its_users(newest):
    assert newest["BROKER_VERSION"].startswith("4.3.")
    where = ("--state", newest["BROKER_STATE"])
    assert newest["BROKER_VERSION"] in script("ctl", *where, "version").stdout
    script("ctl", *where, "add_vhost", "kept")
    assert script("kill", *where).returncode == 0
    assert script("status", *where).returncode == 3
    assert addresses(script("restart", *where).stdout) == newest
    assert "kept" in script("ctl", *where, "list_vhosts").stdout
    ports = json.loads((Path(newest["BROKER_STATE"]) / "node.json").read_text())["ports"][:4]
    listening = listening_addresses()
    assert all(listening.get(port, set()) and listening[port] <= LOOPBACK for port in ports)


def test_another_version_leaves_nothing_behind_but_its_packages(newest):
    """Comes after what uses the node."""
    state = Path(newest["BROKER_STATE"])
    name = json.loads((state / "node.json").read_text())["name"]
    homes = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amqtask" / "rabbitmq" / "forky" / "srv"
    assert (homes / name).is_dir()
    assert script("stop", "--purge", "--state", str(state)).returncode == 0
    assert not state.exists()
    assert not (homes / name).exists()


def test_a_version_that_can_not_be_had_is_told_with_a_code_of_its_own(newest, tmp_path):
    nowhere = {"XDG_CACHE_HOME": str(tmp_path), "BROKER_DEBIAN_MIRROR": "http://127.0.0.1:9/debian"}
    refused = script("start", "--version", "4.0", "--state", str(tmp_path / "state"), **nowhere)
    assert refused.returncode == UNAVAILABLE
    assert refused.stderr.splitlines()[-1].startswith("rabbitmq: RabbitMQ 4.0 could not be got from Debian trixie")
    assert not (tmp_path / "state").exists()


def test_temporary_node_has_a_state_folder_of_its_own(tmp_path):
    refused = script("start", "--temporary", "--state", str(tmp_path))
    assert refused.returncode == 2
    assert "leave out --state or --temporary" in refused.stderr
    assert list(tmp_path.iterdir()) == []
