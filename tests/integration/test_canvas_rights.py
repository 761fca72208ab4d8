"""Long chains where the broker's user may not read what is parked."""

from __future__ import annotations

import json
import time
from contextlib import closing
from urllib.parse import quote, unquote, urlsplit

import pytest
from nodes import RabbitNode
from waiting import wait_for

from amqtask import Amqtask, chain
from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.canvas.plan import CHAIN_MORE, CHAIN_SKIP
from amqtask.errors import AccessRefused
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = [pytest.mark.rabbitmq, pytest.mark.rabbitmq_only("the dev broker has no permissions")]

PATIENCE = 60.0


class User:
    """One who may do everything, but read the queues of chains."""

    def __init__(self, node, url):
        self.node, parts = node, urlsplit(url)
        self.name, self.vhost = f"user-{time.monotonic_ns()}", unquote(parts.path[1:])
        node.api("PUT", f"users/{self.name}", b'{"password": "secret", "tags": ""}')
        self.may_read(r"^(?!amqtask\.chain\.).*")
        self.url = parts._replace(netloc=f"{self.name}:secret@{parts.hostname}:{parts.port}").geturl()

    def may_read(self, names):
        rights = {"configure": ".*", "write": ".*", "read": names}
        self.node.api("PUT", f"permissions/{quote(self.vhost, safe='')}/{self.name}", json.dumps(rights).encode())


@pytest.fixture
def user(broker_node, vhost_url):
    if not isinstance(broker_node, RabbitNode) or not broker_node.has_api:
        pytest.skip("the management API is out of reach")
    made = User(broker_node, vhost_url)
    yield made
    broker_node.api("DELETE", f"users/{made.name}")


def test_a_chain_whose_steps_may_not_be_read_fails_and_goes_on_once_they_may(user):
    app = Amqtask("rights", broker=user.url, backend="rpc://")
    ends = []

    @app.task(name="add")
    def add(x, y):
        return x + y

    @app.task(name="end")
    def end(value):
        ends.append(value)

    options = resolve(Requested(pool="threads", concurrency=1, queues=["amqtask"]), app.topology, app.settings)
    with closing(app), EmbeddedWorker(app, options), Admin(app.broker_urls, app.connection_options) as admin:
        result = chain(add.s(0, 0), *(add.s(1) for _ in range(80)), end.s())()
        with pytest.raises(AccessRefused):
            result.get(timeout=PATIENCE)
        letters = DeadLetters(admin, "amqtask")
        wait_for(lambda: len(letters) == 2)
        ids = {letter.task: letter.id for letter in letters.read()}
        assert set(ids) == {CHAIN_MORE, CHAIN_SKIP}
        user.may_read(".*")
        letters.retry([ids[CHAIN_MORE]])
        wait_for(lambda: ends == [80], timeout=PATIENCE)
