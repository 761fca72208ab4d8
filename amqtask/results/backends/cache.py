"""``cache+memcached://host:11211;host:11211/``: documents in memcached, under Celery's keys. Owns the choice of server.

Memcached forgets what it has no room for, and everything when it stops: for results that may be lost. One server holds
a key, chosen by its CRC-32; when that server is away, its results are, too.
"""

from __future__ import annotations

import contextlib
import threading
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import ConfigError, ResultTooLarge
from amqtask.results import states
from amqtask.results.backends._polled import PolledBackend
from amqtask.results.backends._process import PerProcess
from amqtask.results.backends._records import GROUP_PREFIX, TASK_PREFIX, key_part, newest, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.base import Record

try:
    from pymemcache import Client, MemcacheError, PooledClient
except ImportError:
    raise ConfigError('the memcached result backend needs pymemcache: pip install "amqtask[memcached]"') from None

PORT = 11211
CONNECT_SECONDS, ANSWER_SECONDS, TURN_SECONDS = 5.0, 10.0, 60.0
_LONGEST_KEY = 250
_RELATIVE = 30 * 24 * 3600
"""Seconds up to which memcached takes an expiry as a span, not as a moment."""


class _Client(Client):  # type: ignore[misc]  # pymemcache has no types
    """Closes its socket when the pool lets go of it: one that connects while the pool is closed is just dropped."""

    def __del__(self) -> None:
        self.close()


class _Pool(PooledClient):  # type: ignore[misc]
    client_class = _Client


class _Servers:
    """Clients of one process."""

    def __init__(self, addresses: list[tuple[str, int]], most: int) -> None:
        self.turns = threading.BoundedSemaphore(most)
        self.closed = False
        options = {"connect_timeout": CONNECT_SECONDS, "timeout": ANSWER_SECONDS, "no_delay": True}
        self.clients = [_Pool(address, default_noreply=False, **options) for address in addresses]

    def of(self, key: str) -> Any:
        """The client of the server that holds this key."""
        return self.clients[self.number(key)]

    def number(self, key: str) -> int:
        """Which server that is."""
        return zlib.crc32(key.encode()) % len(self.clients)


class MemcachedBackend(PolledBackend):
    """Documents in memcached. Thread-safe.

    Args:
        url: ``cache+memcached://`` and one or more addresses, separated by semicolons or commas.
        settings: of the app.

    Raises:
        ConfigError: another kind of cache, or no address.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        super().__init__(url, settings)
        addresses = _addresses(url)
        self._servers = PerProcess(partial(_Servers, addresses, settings.result_backend_max_connections))

    def store(self, records: Sequence[Record]) -> None:
        """Set values, one by one."""
        for record in newest(records):
            key = _key(TASK_PREFIX, record.task_id)
            with self._client(key, "store results") as client:
                if record.state == states.SUCCESS:
                    client.set(key, record.document, expire=self._expire())
                else:
                    self._store_unless_success(client, key, record.document)

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Get values, many at once from each server."""
        keys = {_key(TASK_PREFIX, task_id): task_id for task_id in task_ids}
        servers = self._servers.get()
        by_server: dict[int, list[str]] = {}
        for key in keys:
            by_server.setdefault(servers.number(key), []).append(key)
        found: dict[str, bytes] = {}
        for some in by_server.values():
            with self._client(some[0], "fetch results") as client:
                found.update((keys[_text(key)], value) for key, value in client.get_many(some).items())
        return found

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete values."""
        for task_id in task_ids:
            key = _key(TASK_PREFIX, task_id)
            with self._client(key, "forget results") as client:
                client.delete(key)

    def save_group(self, group_id: str, document: bytes) -> None:
        """Set the group's value."""
        key = _key(GROUP_PREFIX, group_id)
        with self._client(key, "save a group") as client:
            client.set(key, document, expire=self._expire())

    def fetch_group(self, group_id: str) -> bytes | None:
        """Get the group's value."""
        key = _key(GROUP_PREFIX, group_id)
        with self._client(key, "fetch a group") as client:
            found: bytes | None = client.get(key)
            return found

    def forget_group(self, group_id: str) -> None:
        """Delete the group's value."""
        key = _key(GROUP_PREFIX, group_id)
        with self._client(key, "forget a group") as client:
            client.delete(key)

    def close(self) -> None:
        """Close the connections."""
        servers = self._servers.take()
        if servers is not None:
            servers.closed = True
            for client in servers.clients:
                client.close()
        self.end_threads()

    def _store_unless_success(self, client: Any, key: str, document: bytes) -> None:
        done: bool | None = False
        while not done:
            there, version = client.gets(key)
            if there is None:
                done = client.add(key, document, expire=self._expire())
            elif state_of(there) == states.SUCCESS:
                return
            else:
                done = client.cas(key, document, version, expire=self._expire())

    def _expire(self) -> int:
        expires = self.settings.result_expires
        if not expires:
            return 0
        return max(int(expires), 1) if expires <= _RELATIVE else int(clock.wall() + expires)

    @contextlib.contextmanager
    def _client(self, key: str, doing: str) -> Iterator[Any]:
        servers = self._servers.get()
        if not servers.turns.acquire(timeout=TURN_SECONDS):
            raise self.failed(doing, TimeoutError("all connections are busy"))
        try:
            yield servers.of(key)
        except (AttributeError, ValueError) as error:
            if not servers.closed:
                raise
            raise self.failed(doing, error) from error  # another thread has taken the socket away meanwhile
        except (MemcacheError, OSError) as error:
            if "too large" in str(error):
                raise ResultTooLarge(f"{doing}: larger than memcached's item size, see its option -I") from error
            raise self.failed(doing, error) from error
        finally:
            servers.turns.release()


def _addresses(url: str) -> list[tuple[str, int]]:
    scheme, _, rest = url.partition("://")
    if scheme not in ("cache+memcached", "cache+pymemcache", "cache+pylibmc"):
        raise ConfigError(f"result_backend {url!r}: of caches there is cache+memcached://host:{PORT}/ only")
    found = []
    for word in rest.partition("/")[0].replace(",", ";").split(";"):
        host, _, port = word.strip().rpartition(":") if word.count(":") == 1 else (word.strip(), "", "")
        if host and (port.isdigit() or not port):
            found.append((host.strip("[]"), int(port or PORT)))
    if not found:
        raise ConfigError(f"result_backend {url!r}: write cache+memcached://host:{PORT}/")
    return found


def _key(prefix: str, name: str) -> str:
    return prefix + key_part(name, _LONGEST_KEY - len(prefix))


def _text(key: str | bytes) -> str:
    return key.decode() if isinstance(key, bytes) else key


BACKEND = MemcachedBackend
