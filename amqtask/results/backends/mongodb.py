"""``mongodb://``: documents in two collections, which MongoDB itself cleans by an index. Owns the questions.

A success is never replaced because the update's condition does not match it: MongoDB then tries to insert, and the
unique ``_id`` refuses that.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from amqtask import clock
from amqtask.errors import BackendError, ConfigError, ResultTooLarge
from amqtask.results import states
from amqtask.results.backends._polled import PolledBackend
from amqtask.results.backends._process import PerProcess
from amqtask.results.backends._records import newest, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.base import Record

try:
    from bson.errors import BSONError
    from pymongo import MongoClient, UpdateOne, uri_parser
    from pymongo.errors import BulkWriteError, ConfigurationError, PyMongoError
except ImportError:
    raise ConfigError('the MongoDB result backend needs PyMongo: pip install "amqtask[mongodb]"') from None

DATABASE, RESULTS, GROUPS = "amqtask", "amqtask_results", "amqtask_groups"
CONNECT_SECONDS, ANSWER_SECONDS, TURN_SECONDS = 5, 30, 60
_BATCH = 500
_DUPLICATE = 11000
LARGEST = 16 * 1024 * 1024 - 16 * 1024
"""Bytes of a document, with room for the other fields."""
_ATTEMPTS = 5


class MongoBackend(PolledBackend):
    """Documents in MongoDB. Thread-safe.

    Args:
        url: MongoDB's own; the database in it is used, else ``amqtask``.
        settings: of the app.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        super().__init__(url, settings)
        if url.startswith("mongodb://"):  # the other kind asks the domain name system
            try:
                uri_parser.parse_uri(url)
            except (ConfigurationError, ValueError, PyMongoError) as error:
                raise ConfigError(f"result_backend {self.where!r}: {error}") from None
        self._clients = PerProcess(partial(_connect, url, settings.result_backend_max_connections))
        self._indexed: Any = None

    def store(self, records: Sequence[Record]) -> None:
        """Write some hundred documents at once."""
        largest = max((len(record.document) for record in records), default=0)
        if largest > LARGEST:
            raise ResultTooLarge(f"store results: MongoDB takes {LARGEST} bytes, not {largest}")
        with self._errors("store results"):
            for some in pieces(newest(records), _BATCH):
                self._write(some)

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Find what has not expired."""
        found: dict[str, bytes] = {}
        with self._errors("fetch results"):
            for some in pieces(task_ids, _BATCH):
                found |= self._find(RESULTS, some)
        return found

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete documents."""
        with self._errors("forget results"):
            for some in pieces(task_ids, _BATCH):
                self._collection(RESULTS).delete_many({"_id": {"$in": some}})

    def save_group(self, group_id: str, document: bytes) -> None:
        """Insert or replace."""
        with self._errors("save a group"):
            new = {"document": document, "expires_at": self._expires()}
            self._collection(GROUPS).update_one({"_id": group_id}, {"$set": new}, upsert=True)

    def fetch_group(self, group_id: str) -> bytes | None:
        """Find it."""
        with self._errors("fetch a group"):
            return self._find(GROUPS, [group_id]).get(group_id)

    def forget_group(self, group_id: str) -> None:
        """Delete it."""
        with self._errors("forget a group"):
            self._collection(GROUPS).delete_many({"_id": {"$in": [group_id]}})

    def close(self) -> None:
        """Close the connections."""
        client = self._clients.take()
        if client is not None:
            client.close()
        self.end_threads()

    def _write(self, records: list[Record]) -> None:
        for _ in range(_ATTEMPTS):
            try:
                self._collection(RESULTS).bulk_write([self._update(record) for record in records], ordered=False)
            except BulkWriteError as error:
                problems = error.details["writeErrors"]
                if any(problem["code"] != _DUPLICATE for problem in problems):
                    raise
                # A success that is there refused another state, as it should; or two inserted at the same moment.
                refused = [records[problem["index"]] for problem in problems]
                records = [record for record in refused if record.state == states.SUCCESS]
                if not records:
                    return
            else:
                return
        raise self.failed("store results", RuntimeError("others insert the same documents again and again"))

    def _update(self, record: Record) -> Any:
        where: dict[str, Any] = {"_id": record.task_id}
        if record.state != states.SUCCESS:
            where["$or"] = [{"state": {"$ne": states.SUCCESS}}, {"expires_at": {"$lte": _moment(clock.wall())}}]
        new = {
            "state": record.state,
            "document": record.document,
            "content_type": record.content_type,
            "content_encoding": record.content_encoding,
            "expires_at": self._expires(),
        }
        return UpdateOne(where, {"$set": new}, upsert=True)

    def _find(self, name: str, ids: list[str]) -> dict[str, bytes]:
        fresh = [{"expires_at": None}, {"expires_at": {"$gt": _moment(clock.wall())}}]
        cursor = self._collection(name).find({"_id": {"$in": ids}, "$or": fresh}, {"document": 1})
        return {one["_id"]: bytes(one["document"]) for one in cursor}

    def _expires(self) -> datetime | None:
        expires = self.expires_at()
        return None if expires is None else _moment(expires)

    def _collection(self, name: str) -> Any:
        client = self._clients.get()
        database = client.get_default_database(DATABASE)
        if self._indexed is not client:
            for each in (RESULTS, GROUPS):
                database[each].create_index("expires_at", expireAfterSeconds=0)
            self._indexed = client
        return database[name]

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except BackendError:
            raise
        except (PyMongoError, BSONError, OSError) as error:
            raise self.failed(doing, error) from error


def _connect(url: str, most: int) -> Any:
    """A client; what the URL says goes before our own values."""
    said = {name.lower() for name, _ in parse_qsl(urlsplit(url).query)}
    options: dict[str, Any] = {
        "appname": "amqtask",
        "maxPoolSize": most,
        "serverSelectionTimeoutMS": CONNECT_SECONDS * 1000,
        "connectTimeoutMS": CONNECT_SECONDS * 1000,
        "socketTimeoutMS": ANSWER_SECONDS * 1000,
        "waitQueueTimeoutMS": TURN_SECONDS * 1000,
    }
    ours = {name: value for name, value in options.items() if name.lower() not in said}
    return MongoClient(url, connect=False, **ours)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


BACKEND = MongoBackend
