"""What the command line does while a broker blocks publishers: it never hangs, and shows what can be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from nodes import Node
from publishing import OPTIONS, message
from waiting import wait_for

from amqtask import Amqtask
from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.broker.url import parse_urls
from amqtask.cli.main import main
from amqtask.errors import BrokerBlocked
from amqtask.topology.declarations import QueueDeclare

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def blocked(own_node: Node) -> Iterator[str]:
    """URL of a broker that blocks, with a dead letter and a paused queue."""
    app = Amqtask("shop", broker=own_node.url)
    with Admin(parse_urls(own_node.url), OPTIONS) as admin:
        admin.declare(QueueDeclare("q.dead"))
        admin.publish(message("q.dead"))
    app.control.pause("q")
    app.close()
    own_node.block()
    yield own_node.url
    own_node.unblock()


def test_nothing_hangs_and_nothing_is_lost(own_node: Node, blocked: str, capsys: pytest.CaptureFixture[str]):
    options = replace(OPTIONS, blocked_timeout=0.5)
    with Admin(parse_urls(blocked), options) as admin, pytest.raises(BrokerBlocked, match="memory or disk"):
        DeadLetters(admin, "q").retry()
    app = Amqtask("shop", broker=blocked, broker_blocked_timeout=0.5)
    with pytest.raises(BrokerBlocked):
        list(app.control.stream("ping", timeout=0.5))
    app.close()
    assert main(["queue", "list", "-b", blocked]) == 0
    told = capsys.readouterr()
    assert "READY" in told.out
    assert "which queues are paused" in told.err
    own_node.unblock()
    with Admin(parse_urls(blocked), OPTIONS) as admin:  # a broker that blocks does not look at connections that ended
        wait_for(lambda: len(DeadLetters(admin, "q")) == 1)
