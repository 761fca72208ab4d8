"""Kubernetes objects: a Deployment per process, scaled by KEDA on the length of its queues. Owns their content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from amqtask.cli.deploy.plan import HEALTH_PORT, MARGIN

if TYPE_CHECKING:
    from amqtask.cli.deploy.plan import Plan, Unit

_BEATS = 2
"""Schedulers: one leads, the other takes over."""


def kubernetes(plan: Plan, *, image: str, replicas: tuple[int, int], backlog: int) -> str:
    """The objects as YAML documents. ``AMQTASK_BROKER_URL`` comes from the secret ``<name>-broker``, key ``url``.

    Args:
        plan: what is to run.
        image: of the app; ``amqtask`` is on its PATH.
        replicas: fewest and most pods of each worker.
        backlog: waiting messages per pod that KEDA aims at.
    """
    documents: list[dict[str, Any]] = []
    for unit in plan.workers:
        documents.append(_deployment(plan, unit, image, max(1, replicas[0])))
        documents.append(_scaler(plan, unit, replicas, backlog))
    if plan.beat is not None:
        documents.append(_deployment(plan, plan.beat, image, _BEATS))
    return yaml.safe_dump_all(documents, sort_keys=False, width=120)


def _deployment(plan: Plan, unit: Unit, image: str, replicas: int) -> dict[str, Any]:
    name = f"{plan.name}-{unit.name.replace('_', '-').lower()}"

    def labels() -> dict[str, str]:  # anew each time: YAML would write a reference to the first
        return {"app.kubernetes.io/name": plan.name, "app.kubernetes.io/component": unit.name}

    secret = {"name": f"{plan.name}-broker", "key": "url"}
    container: dict[str, Any] = {
        "name": "amqtask",
        "image": image,
        "command": ["amqtask", *unit.words],
        "env": [{"name": "AMQTASK_BROKER_URL", "valueFrom": {"secretKeyRef": secret}}],
    }
    container["command"] += ["--health", f":{HEALTH_PORT}", "--log-format", "json"]
    container["ports"] = [{"name": "health", "containerPort": HEALTH_PORT}]
    container["startupProbe"] = _probe("/startupz", period=2, failures=30)
    container["livenessProbe"] = _probe("/livez", period=20, failures=3)
    container["readinessProbe"] = _probe("/readyz", period=10, failures=2)
    pod = {"terminationGracePeriodSeconds": plan.grace, "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels()},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels()},
            "template": {"metadata": {"labels": labels()}, "spec": pod},
        },
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "health"},
        "periodSeconds": period,
        "timeoutSeconds": MARGIN,
        "failureThreshold": failures,
    }


def _scaler(plan: Plan, unit: Unit, replicas: tuple[int, int], backlog: int) -> dict[str, Any]:
    name = f"{plan.name}-{unit.name.replace('_', '-').lower()}"
    trigger = {"protocol": "amqp", "hostFromEnv": "AMQTASK_BROKER_URL", "mode": "QueueLength", "value": str(backlog)}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": replicas[0],
            "maxReplicaCount": replicas[1],
            "triggers": [{"type": "rabbitmq", "metadata": {**trigger, "queueName": queue}} for queue in unit.queues],
        },
    }
