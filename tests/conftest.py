"""Fixtures every kind of test may use: a RabbitMQ node, a vhost of one's own, a node to break."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Node, session_node
from worker_process import Site, new_site


@pytest.fixture(scope="session")
def broker_node() -> Iterator[Node]:
    """The RabbitMQ of the session: AMQTASK_BROKER_URL, or a private one. Shared, so not to be broken."""
    node, started = session_node()
    yield node
    if started:
        node.stop()


@pytest.fixture(scope="session")
def broker_url(broker_node: Node) -> str:
    """URL of the session's RabbitMQ, default vhost. Use queue names of your own, or ``vhost_url``."""
    return broker_node.url


@pytest.fixture
def vhost_url(broker_node: Node) -> Iterator[str]:
    """URL of a fresh vhost that is deleted after the test.

    Where none can be made it is the default vhost, so tests should still use unique names.
    """
    if not broker_node.can_make_vhosts:
        yield broker_node.url
        return
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield broker_node.add_vhost(name)
    broker_node.delete_vhost(name)


@pytest.fixture(scope="session")
def own_node() -> Iterator[Node]:
    """A RabbitMQ for this session alone, to be restarted, killed and blocked. Leave it running and unblocked."""
    folder = Path(tempfile.mkdtemp(prefix="amqtask-node-"))
    node = Node.start("--private", state=folder)
    yield node
    node.stop("--purge")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_vhost(own_node: Node) -> Iterator[str]:
    """URL of a fresh vhost on ``own_node``."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield own_node.add_vhost(name)
    own_node.delete_vhost(name)


@pytest.fixture
def site(broker_node: Node, tmp_path: Path) -> Iterator[Site]:
    """Where worker processes run: a folder and a vhost of their own; nothing is left of them after the test."""
    with new_site(broker_node, tmp_path) as made:
        yield made


@pytest.fixture
def breakable_site(own_node: Node, tmp_path: Path) -> Iterator[Site]:
    """The same on ``own_node``, which the test may restart."""
    with new_site(own_node, tmp_path) as made:
        yield made
