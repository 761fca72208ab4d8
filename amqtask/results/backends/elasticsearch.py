"""``elasticsearch://host:9200/index``: one Elasticsearch document per result. Owns the questions.

Everything goes by id (multi-get, bulk), so it is seen at once, unlike searches. A state that is no success replaces
just the version that was read, and is tried again when that has changed meanwhile. Groups are in ``<index>-groups``.
Elasticsearch deletes nothing by itself: what has expired is not returned, and ``clean_up`` removes it.
"""

from __future__ import annotations

import base64
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from amqtask import clock
from amqtask.errors import BackendError, ConfigError, ResultTooLarge
from amqtask.results import states
from amqtask.results.backends._polled import PolledBackend
from amqtask.results.backends._process import PerProcess
from amqtask.results.backends._records import key_part, newest, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.base import Record

try:
    from elasticsearch import ApiError, BadRequestError, Elasticsearch, TransportError
except ImportError:
    text = 'the Elasticsearch result backend needs its client: pip install "amqtask[elasticsearch]"'
    raise ConfigError(text) from None

INDEX, PORT = "amqtask", 9200
ANSWER_SECONDS = 30
_BATCH = 200
_ATTEMPTS = 10
_LONGEST_ID = 512
_CONFLICT, _TOO_LARGE = 409, 413
_MAPPINGS = {
    "dynamic": False,
    "properties": {
        "state": {"type": "keyword"},
        "document": {"type": "binary"},
        "expires_at": {"type": "date", "format": "epoch_millis"},
    },
}


class ElasticsearchBackend(PolledBackend):
    """Documents in Elasticsearch. Thread-safe.

    Args:
        url: ``elasticsearch://`` or, for TLS, ``elasticsearch+https://``, with user, password and index; parameters
            ``ca_certs`` (a PEM file) and ``verify_certs`` (true, false).
        settings: of the app.
    """

    needs_clean_up = True

    def __init__(self, url: str, settings: Settings) -> None:
        super().__init__(url, settings)
        options, self._index = _read_url(url, self.where)
        self._clients = PerProcess(partial(_connect, options, settings.result_backend_max_connections))
        self._prepared: Any = None

    @property
    def _groups(self) -> str:
        return f"{self._index}-groups"

    def store(self, records: Sequence[Record]) -> None:
        """Write some hundred documents at once."""
        with self._errors("store results"):
            for some in pieces(newest(records), _BATCH):
                self._write(some)

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Get what has not expired."""
        found: dict[str, bytes] = {}
        with self._errors("fetch results"):
            for some in pieces(task_ids, _BATCH):
                sources = ((task_id, one["_source"]) for task_id, one in self._get(self._index, some).items())
                found.update((task_id, _document(source)) for task_id, source in sources if not _expired(source))
        return found

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete documents."""
        with self._errors("forget results"):
            for some in pieces(task_ids, _BATCH):
                self._bulk(self._index, [({"delete": {"_id": _id(task_id)}}, None) for task_id in some])

    def save_group(self, group_id: str, document: bytes) -> None:
        """Write the group."""
        with self._errors("save a group"):
            self._bulk(self._groups, [({"index": {"_id": _id(group_id)}}, self._source("", document))])

    def fetch_group(self, group_id: str) -> bytes | None:
        """Get the group."""
        with self._errors("fetch a group"):
            found = self._get(self._groups, [group_id]).get(group_id)
            return None if found is None or _expired(found["_source"]) else _document(found["_source"])

    def forget_group(self, group_id: str) -> None:
        """Delete the group."""
        with self._errors("forget a group"):
            self._bulk(self._groups, [({"delete": {"_id": _id(group_id)}}, None)])

    def clean_up(self) -> int:
        """Delete what has expired, some thousand at a time."""
        removed = 0
        query = {"range": {"expires_at": {"lte": int(clock.wall() * 1000)}}}
        with self._errors("clean up"):
            for index in (self._index, self._groups):
                self._client().indices.refresh(index=index)
                some = 1
                while some:
                    answer = self._client().delete_by_query(
                        index=index, query=query, max_docs=5000, conflicts="proceed", refresh=True
                    )
                    some = answer["deleted"]
                    removed += some
        return removed

    def close(self) -> None:
        """Close the connections."""
        client = self._clients.take()
        if client is not None:
            client.close()
        self.end_threads()

    def _write(self, records: list[Record]) -> None:
        for _ in range(_ATTEMPTS):
            there = self._get(self._index, [one.task_id for one in records if one.state != states.SUCCESS])
            records = [one for one in records if not _is_success(there.get(one.task_id))]
            actions = [
                (_action(one, there.get(one.task_id)), self._source(one.state, one.document, one)) for one in records
            ]
            refused = self._bulk(self._index, actions)
            records = [record for record in records if _id(record.task_id) in refused]
            if not records:
                return
        raise self.failed("store results", RuntimeError("others change the same documents again and again"))

    def _bulk(self, index: str, actions: Sequence[tuple[dict[str, Any], dict[str, Any] | None]]) -> set[str]:
        """Do all; returns the ids of those that others had changed."""
        if not actions:
            return set()
        lines = [line for pair in actions for line in pair if line is not None]
        answer = self._client().bulk(index=index, operations=lines)
        refused = set()
        for item in answer["items"]:
            ((action, outcome),) = item.items()
            if outcome["status"] == _CONFLICT:
                refused.add(outcome["_id"])
            elif "error" in outcome and action != "delete":
                raise self.failed("store results", RuntimeError(str(outcome["error"])))
        return refused

    def _get(self, index: str, names: list[str]) -> dict[str, Any]:
        if not names:
            return {}
        ids = {_id(name): name for name in names}
        answer = self._client().mget(index=index, ids=list(ids))
        return {ids[one["_id"]]: one for one in answer["docs"] if one.get("found")}

    def _source(self, state: str, document: bytes, record: Record | None = None) -> dict[str, Any]:
        expires = self.expires_at()
        return {
            "state": state,
            "document": base64.b64encode(document).decode(),
            "content_type": record.content_type if record else None,
            "expires_at": None if expires is None else int(expires * 1000),
        }

    def _client(self) -> Any:
        client = self._clients.get()
        if self._prepared is not client:
            for index in (self._index, self._groups):
                try:
                    client.indices.create(index=index, mappings=_MAPPINGS)
                except BadRequestError as error:
                    if "already_exists" not in str(error):
                        raise
            self._prepared = client
        return client

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except BackendError:
            raise
        except ApiError as error:
            if error.status_code == _TOO_LARGE:
                raise ResultTooLarge(f"{doing}: Elasticsearch takes no request of this size") from error
            raise self.failed(doing, error) from error
        except (TransportError, OSError) as error:
            raise self.failed(doing, error) from error


def _read_url(url: str, where: str) -> tuple[dict[str, Any], str]:
    """Options of the client, and the index."""
    try:
        parts = urlsplit(url)
        tls = parts.scheme.endswith("+https")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "localhost"
        options: dict[str, Any] = {"hosts": f"{'https' if tls else 'http'}://{host}:{parts.port or PORT}"}
    except ValueError as error:
        raise ConfigError(f"result_backend {where!r}: {error}") from None
    if parts.username:
        options["basic_auth"] = (unquote(parts.username), unquote(parts.password or ""))
    for name, value in parse_qsl(parts.query):
        if name == "ca_certs":
            options[name] = value
        elif name == "verify_certs":
            options[name] = value.lower() not in ("false", "0", "no")
        else:
            raise ConfigError(f"result_backend {where!r}: unknown parameter {name!r}; there are ca_certs, verify_certs")
    return options, parts.path.strip("/").partition("/")[0] or INDEX


def _connect(options: dict[str, Any], most: int) -> Any:
    return Elasticsearch(**options, connections_per_node=most, request_timeout=ANSWER_SECONDS, max_retries=1)


def _action(record: Record, there: Any) -> dict[str, Any]:
    """How to write a record over what is there."""
    meta = {"_id": _id(record.task_id)}
    if record.state == states.SUCCESS:
        return {"index": meta}
    if there is None:
        return {"create": meta}
    return {"index": meta | {"if_seq_no": there["_seq_no"], "if_primary_term": there["_primary_term"]}}


def _is_success(there: Any) -> bool:
    return there is not None and there["_source"]["state"] == states.SUCCESS and not _expired(there["_source"])


def _expired(source: Mapping[str, Any]) -> bool:
    expires: int | None = source["expires_at"]
    return expires is not None and expires <= clock.wall() * 1000


def _document(source: Mapping[str, Any]) -> bytes:
    return base64.b64decode(source["document"])


def _id(name: str) -> str:
    return key_part(name, _LONGEST_ID)


BACKEND = ElasticsearchBackend
