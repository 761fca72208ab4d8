"""Which broker the tests run on.

AMQTASK_TEST_BROKER says it: ``rabbitmq`` (the default: the distribution's), a version of RabbitMQ that
``scripts/rabbitmq`` knows, or ``dev``. The shared node of a RabbitMQ is that of AMQTASK_BROKER_URL (with BROKER_STATE
and BROKER_MANAGEMENT_URL beside it, when known), else one that is started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nodes import SCRIPT, Node, RabbitNode

if TYPE_CHECKING:
    from collections.abc import Iterator

AGAIN = bool(os.environ.get("AMQTASK_TEST_AGAIN"))
"""Whether these tests have run on another broker just before; those that use no broker are left out then."""
CHOICE = os.environ.get("AMQTASK_TEST_BROKER") or "rabbitmq"
ON_DEV = CHOICE == "dev"
VERSION = () if CHOICE in ("rabbitmq", "dev") else ("--version", CHOICE)
"""Options of ``scripts/rabbitmq start`` for the chosen RabbitMQ."""


@contextmanager
def shared_node() -> Iterator[Node]:
    """The broker of a test session."""
    names = ("AMQTASK_BROKER_URL", "BROKER_STATE", "BROKER_MANAGEMENT_URL")
    given = {name: os.environ[name] for name in names if name in os.environ}
    if ON_DEV or (VERSION and "AMQTASK_BROKER_URL" not in given):
        with own_node() as node:
            yield node
    elif "AMQTASK_BROKER_URL" in given:
        yield RabbitNode(given)
    else:
        runs = subprocess.run([sys.executable, str(SCRIPT), "status"], capture_output=True, check=False)
        node = RabbitNode.start()
        yield node
        if runs.returncode != 0:
            node.halt()


@contextmanager
def own_node(*options: str) -> Iterator[Node]:
    """A fresh broker of the chosen kind, gone at the end.

    Args:
        options: for RabbitMQ, those of ``scripts/rabbitmq start``; for the dev broker, its own.
    """
    folder = Path(tempfile.mkdtemp(prefix="amqtask-node-"))  # a folder that RabbitMQ's account can enter
    node: Node
    if ON_DEV:
        from dev_node import DevNode

        node = DevNode(folder, *options)
    else:
        node = RabbitNode.start("--private", *VERSION, *options, state=folder)
    try:
        yield node
    finally:
        node.stop()
        shutil.rmtree(folder, ignore_errors=True)
