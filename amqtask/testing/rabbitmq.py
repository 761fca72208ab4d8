"""Vhosts on a RabbitMQ that runs already, made and deleted through its management API. Owns those requests.

For test suites that want to run now and then against what production uses (``--amqtask-broker URL``).
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlsplit, urlunsplit

from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import BrokerURL, parse_urls
from amqtask.errors import AmqtaskError
from amqtask.testing.vhosts import NeedsDevBroker, QueueCounts, Vhost
from amqtask.topology.delays import LADDER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

MANAGEMENT_PORT = 15672

_TIMEOUT = 20.0
"""Seconds per request; deleting a vhost full of quorum queues takes some."""


class RabbitServer:
    """A RabbitMQ; implements :class:`~amqtask.testing.vhosts.Server`.

    Args:
        url: amqp:// URL; its user must be an administrator.
        management: http:// URL of the management API, with user and password if they differ; None: port 15672 of
            the same host.
    """

    def __init__(self, url: str, management: str | None = None) -> None:
        self._url, self._broker = url, BrokerURL.parse(url)
        self._api = _Api(management, self._broker)

    def add_vhost(self) -> RabbitVhost:
        """A new, empty vhost, with all permissions for the user of the URL.

        Raises:
            AmqtaskError: the management API can't be reached, or refuses.
        """
        name = f"amqtask-test-{uuid.uuid4().hex[:12]}"
        self._api.request("PUT", f"vhosts/{name}", {})
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self._api.request("PUT", f"permissions/{name}/{quote(self._broker.user, safe='')}", rights)
        parts = urlsplit(self._url)
        return RabbitVhost(self._api, name, urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, "")))

    def close(self) -> None:
        """Nothing was started."""


class RabbitVhost(Vhost):
    """See :class:`~amqtask.testing.vhosts.Vhost`."""

    def __init__(self, api: _Api, name: str, url: str) -> None:
        super().__init__(name, url)
        self._api = api
        self._admin = Admin(parse_urls(url), ConnectionOptions(name="amqtask tests"))

    def queues(self, names: Sequence[str]) -> list[QueueCounts]:
        """By passive declare: RabbitMQ's statistics lag behind by seconds."""
        states = [self._admin.queue_state(name) for name in names]
        return [QueueCounts(state.name, state.ready, None) for state in states if state is not None]

    def waiting(self, names: Sequence[str]) -> int:
        """By passive declare of every queue there is: the list of them is not delayed."""
        listed = self._api.request("GET", f"queues/{self.name}?columns=name&disable_stats=true")
        found = [queue["name"] for queue in listed]
        wanted = [name for name in found if name in names or name.startswith(LADDER_PREFIX)]
        return sum(queue.ready for queue in self.queues(wanted))

    def delete(self) -> None:
        """Delete the vhost."""
        self._admin.close()
        self._api.request("DELETE", f"vhosts/{self.name}")

    def _dev(self, what: str) -> NoReturn:
        raise NeedsDevBroker(
            f"amqtask_broker.{what} needs the dev broker, and these tests run on a RabbitMQ, which can't be made to do "
            "that; run this test without --amqtask-broker and without the ini option amqtask_broker"
        )


class _Api:
    """RabbitMQ's management API."""

    def __init__(self, management: str | None, broker: BrokerURL) -> None:
        parts = urlsplit(management or f"http://{broker.host}:{MANAGEMENT_PORT}")
        self._base = f"{parts.scheme}://{parts.hostname}:{parts.port or MANAGEMENT_PORT}"
        login = f"{parts.username or broker.user}:{parts.password or broker.password}"
        self._login = base64.b64encode(login.encode()).decode()

    def request(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        """Send a request; returns the answer, if there is one."""
        if not self._base.startswith(("http://", "https://")):
            raise AmqtaskError(f"{self._base} is not an http:// URL; see --amqtask-management")
        request = urllib.request.Request(  # noqa: S310 -- the scheme has been checked
            f"{self._base}/api/{path}", method=method, data=None if body is None else json.dumps(body).encode()
        )
        request.add_header("Authorization", f"Basic {self._login}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                text = answer.read()
        except (OSError, urllib.error.URLError) as error:
            raise AmqtaskError(
                f"tests on a RabbitMQ need its management API, to make a vhost for each test; {self._base} says: "
                f"{error}. Enable the plugin rabbitmq_management, or name its URL with --amqtask-management."
            ) from error
        return json.loads(text) if text else None
