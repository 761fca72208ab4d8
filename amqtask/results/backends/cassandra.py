"""``cassandra://host,host/keyspace``: documents in two tables, which expire by themselves. Owns the questions.

A task has two rows at most, one for its success and one for whatever else became of it, and the success is what is
returned: so nothing can replace it, without asking the cluster to agree on every write.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from amqtask.errors import BackendError, ConfigError
from amqtask.results import states
from amqtask.results.backends._polled import PolledBackend
from amqtask.results.backends._process import PerProcess
from amqtask.results.backends._records import newest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.base import Record

try:
    from cassandra import DriverException, RequestExecutionException
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
    from cassandra.concurrent import execute_concurrent_with_args
    from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy, RoundRobinPolicy
except ImportError:
    raise ConfigError('the Cassandra result backend needs its driver: pip install "amqtask[cassandra]"') from None

KEYSPACE, PORT = "amqtask", 9042
PROTOCOL = 4
"""Of the native protocol: known to every Cassandra since 2.2."""
ANSWER_SECONDS = 30
_AT_ONCE = 50

_COLUMNS = "task_id text, success boolean, state text, document blob, content_type text, content_encoding text"
_TABLES = (
    f"CREATE TABLE IF NOT EXISTS amqtask_results ({_COLUMNS}, PRIMARY KEY (task_id, success))",
    "CREATE TABLE IF NOT EXISTS amqtask_groups (group_id text PRIMARY KEY, document blob)",
)


class _Session(NamedTuple):
    """A connection of one process, with its prepared statements."""

    cluster: Any
    session: Any
    store: Any
    fetch: Any
    forget: Any
    save_group: Any
    fetch_group: Any
    forget_group: Any


class CassandraBackend(PolledBackend):
    """Documents in Cassandra. Thread-safe. The driver has two connections to each host, whatever is asked for.

    Args:
        url: ``cassandra://user:password@host:9042,host/keyspace``; the keyspace has to exist.
        settings: of the app. Transport option ``local_dc``: the data centre to ask.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        super().__init__(url, settings)
        options, keyspace = _read_url(url, self.where)
        data_centre = self.transport_options.get("local_dc")
        balancing = DCAwareRoundRobinPolicy(data_centre) if data_centre else RoundRobinPolicy()
        self._sessions = PerProcess(partial(_connect, options, keyspace, balancing))

    def store(self, records: Sequence[Record]) -> None:
        """Insert rows, some at the same time."""
        seconds = self._seconds()
        rows = [
            (one.task_id, one.state == states.SUCCESS, one.state, one.document, one.content_type,
             one.content_encoding, seconds)
            for one in newest(records)
        ]  # fmt: skip
        with self._open("store results") as here:
            execute_concurrent_with_args(here.session, here.store, rows, concurrency=_AT_ONCE)

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Select rows, some at the same time."""
        found: dict[str, bytes] = {}
        wanted = [(task_id,) for task_id in task_ids]
        with self._open("fetch results") as here:
            for _, rows in execute_concurrent_with_args(here.session, here.fetch, wanted, concurrency=_AT_ONCE):
                for task_id, success, document in sorted(rows, key=lambda row: bool(row[1])):
                    if document is not None:
                        found[task_id] = document if success or task_id not in found else found[task_id]
        return found

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete rows."""
        with self._open("forget results") as here:
            gone = [(task_id,) for task_id in task_ids]
            execute_concurrent_with_args(here.session, here.forget, gone, concurrency=_AT_ONCE)

    def save_group(self, group_id: str, document: bytes) -> None:
        """Insert a row."""
        with self._open("save a group") as here:
            here.session.execute(here.save_group, (group_id, document, self._seconds()))

    def fetch_group(self, group_id: str) -> bytes | None:
        """Select a row."""
        with self._open("fetch a group") as here:
            row = here.session.execute(here.fetch_group, (group_id,)).one()
            return None if row is None else bytes(row[0])

    def forget_group(self, group_id: str) -> None:
        """Delete a row."""
        with self._open("forget a group") as here:
            here.session.execute(here.forget_group, (group_id,))

    def close(self) -> None:
        """Close the connections."""
        here = self._sessions.take()
        if here is not None:
            here.cluster.shutdown()
        self.end_threads()

    def _seconds(self) -> int:
        """To live; 0: for ever."""
        expires = self.settings.result_expires
        return max(int(expires), 1) if expires else 0

    @contextlib.contextmanager
    def _open(self, doing: str) -> Iterator[_Session]:
        try:
            yield self._sessions.get()
        except BackendError:
            raise
        except NoHostAvailable as error:
            reasons = error.errors.values() if isinstance(error.errors, dict) else error.errors
            text = "; ".join(dict.fromkeys(str(reason) for reason in reasons)) or str(error)
            raise self.failed(doing, RuntimeError(f"can't connect to any host: {text}")) from error
        except (DriverException, RequestExecutionException, OSError) as error:
            raise self.failed(doing, error) from error


def _read_url(url: str, where: str) -> tuple[dict[str, Any], str]:
    """Options of the driver, and the keyspace."""
    netloc, _, keyspace = url.partition("://")[2].partition("?")[0].partition("/")
    account, _, hosts = netloc.rpartition("@")
    points = []
    for word in hosts.split(","):
        host, _, port = word.strip().partition(":")
        if not host or (port and not port.isdigit()):
            raise ConfigError(f"result_backend {where!r}: write cassandra://host:{PORT},host/keyspace")
        points.append((host, int(port or PORT)))
    options: dict[str, Any] = {"contact_points": points}
    if account:
        user, _, password = account.partition(":")
        options["auth_provider"] = PlainTextAuthProvider(unquote(user), unquote(password))
    return options, keyspace.strip("/") or KEYSPACE


def _connect(options: dict[str, Any], keyspace: str, balancing: Any) -> _Session:
    cluster = Cluster(
        **options,
        protocol_version=PROTOCOL,
        schema_metadata_enabled=False,  # we know our tables
        token_metadata_enabled=False,
        reconnection_policy=ConstantReconnectionPolicy(1.0, max_attempts=None),
        execution_profiles={
            EXEC_PROFILE_DEFAULT: ExecutionProfile(load_balancing_policy=balancing, request_timeout=ANSWER_SECONDS)
        },
    )
    try:
        session = cluster.connect(keyspace)
        for statement in _TABLES:
            session.execute(statement)
        names = "task_id, success, state, document, content_type, content_encoding"
        return _Session(
            cluster,
            session,
            store=session.prepare(f"INSERT INTO amqtask_results ({names}) VALUES (?, ?, ?, ?, ?, ?) USING TTL ?"),  # noqa: S608
            fetch=session.prepare("SELECT task_id, success, document FROM amqtask_results WHERE task_id = ?"),
            forget=session.prepare("DELETE FROM amqtask_results WHERE task_id = ?"),
            save_group=session.prepare("INSERT INTO amqtask_groups (group_id, document) VALUES (?, ?) USING TTL ?"),
            fetch_group=session.prepare("SELECT document FROM amqtask_groups WHERE group_id = ?"),
            forget_group=session.prepare("DELETE FROM amqtask_groups WHERE group_id = ?"),
        )
    except BaseException:
        cluster.shutdown()
        raise


BACKEND = CassandraBackend
