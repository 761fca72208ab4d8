"""docker-compose.yml fits routing.yaml and the Dockerfile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from amqtask.topology.document import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_each_pool_of_the_routing_file_has_a_worker_service(services):
    pools = load(ROOT / "routing.yaml").pools
    started = {name: service["command"] for name, service in services.items() if name.startswith("worker-")}
    assert started == {f"worker-{pool}": ["worker", "--pool-name", pool] for pool in pools}


def test_everything_waits_for_a_healthy_broker(services):
    assert "healthcheck" in services["rabbitmq"]
    for name, service in services.items():
        if name != "rabbitmq":
            assert service["depends_on"] == {"rabbitmq": {"condition": "service_healthy"}}, name


def test_the_broker_is_rabbitmq_4_with_management_on_loopback_only(services):
    broker = services["rabbitmq"]
    assert broker["image"] == "rabbitmq:4-management"
    assert all(port.startswith("127.0.0.1:") for port in broker["ports"])


def test_tests_run_in_a_profile_of_their_own(services):
    assert services["tests"]["profiles"] == ["tests"]
    assert "AMQTASK_BROKER_URL" in services["tests"]["environment"]


def test_the_schedule_of_the_routing_file_has_a_scheduler(services):
    assert load(ROOT / "routing.yaml").schedule
    assert services["beat"]["command"] == ["beat"]


def test_only_what_runs_the_example_starts_by_default(services):
    default = {name for name, service in services.items() if "profiles" not in service}
    assert default == {"rabbitmq", "worker-small", "worker-large", "beat", "monitor"}


def test_the_monitor_is_reached_from_this_machine_only_and_has_its_packages(services):
    monitor = services["monitor"]
    assert all(port.startswith("127.0.0.1:") for port in monitor["ports"])
    assert monitor["command"][-2:] == ["--allowed-host", "localhost"]
    assert "amqtask[cli,process,monitor]" in (ROOT / "Dockerfile").read_text()


def test_build_targets_exist_and_do_not_run_as_root(services):
    stages = re.split(r"^FROM .* AS ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    by_name = {stage.split("\n", 1)[0]: stage for stage in stages}
    for service in services.values():
        if "build" in service:
            assert "\nUSER amqtask\n" in by_name[service["build"]["target"]]
