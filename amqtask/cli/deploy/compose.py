"""A compose file: a broker, a service per process, and the monitor for who asks for it. Owns its content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from amqtask.cli.deploy.plan import HEALTH_PORT

if TYPE_CHECKING:
    from amqtask.cli.deploy.plan import Plan, Unit

_BROKER = {
    "image": "rabbitmq:4-management",
    "hostname": "rabbitmq",  # its data folder carries the host's name
    "environment": {"RABBITMQ_DEFAULT_USER": "amqtask", "RABBITMQ_DEFAULT_PASS": "${BROKER_PASSWORD:-amqtask}"},
    "volumes": ["rabbitmq-data:/var/lib/rabbitmq"],
    "healthcheck": {
        "test": ["CMD", "rabbitmq-diagnostics", "-q", "check_port_connectivity"],
        "interval": "5s",
        "timeout": "10s",
        "retries": 20,
        "start_period": "30s",
    },
    "restart": "unless-stopped",
}

_MONITOR_PORT = 5555


def compose(plan: Plan, *, image: str) -> str:
    """The file as YAML.

    Args:
        plan: what is to run.
        image: of the app; ``amqtask`` is on its PATH.
    """
    services: dict[str, Any] = {"rabbitmq": _BROKER}
    services.update({unit.name: _service(plan, unit, image) for unit in plan.units})
    services["monitor"] = _monitor(plan, image)
    document = {"services": services, "volumes": {"rabbitmq-data": None}}
    return yaml.safe_dump(document, sort_keys=False, width=120)


def _service(plan: Plan, unit: Unit, image: str) -> dict[str, Any]:
    where = f":{HEALTH_PORT}"
    return {
        **_process(image, *unit.words, "--health", where),
        "stop_grace_period": f"{plan.grace}s",
        "healthcheck": {
            "test": ["CMD", "amqtask", "check", "ready", "--health", where],
            "interval": "30s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "30s",
        },
    }


def _monitor(plan: Plan, image: str) -> dict[str, Any]:
    """In a profile: the image has to have the extra ``monitor``. It is reached from this machine only."""
    everywhere = "0.0.0.0"  # noqa: S104 -- of the container; its port is published on the loopback interface
    words = ["monitor", "-A", plan.path, "--address", everywhere, "--no-auth", "--allowed-host", "localhost"]
    ports = [f"127.0.0.1:{_MONITOR_PORT}:{_MONITOR_PORT}"]
    return {**_process(image, *words), "profiles": ["monitor"], "ports": ports}


def _process(image: str, *words: str) -> dict[str, Any]:
    return {
        "image": image,
        "command": ["amqtask", *words],
        "init": True,
        "environment": {"AMQTASK_BROKER_URL": "amqp://amqtask:${BROKER_PASSWORD:-amqtask}@rabbitmq:5672/"},
        "depends_on": {"rabbitmq": {"condition": "service_healthy"}},
        "restart": "unless-stopped",
    }
