"""As much of an Elasticsearch server as the backend needs: HTTP, bulk with versions, multi-get, deletion by query.

What was written is found by id at once, and by query only after a refresh, as there. It knows nobody's password.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from stub_server import StubServer, read_exactly

MIME = "application/vnd.elasticsearch+json"


class StubElasticsearch(StubServer):
    def __init__(self):
        self.indices = {}
        self.searchable = {}
        self.sequence = 0
        super().__init__()

    def serve(self, connection):
        while True:
            head = bytearray()
            while not head.endswith(b"\r\n\r\n"):
                head += read_exactly(connection, 1)
            first, *lines = head.decode().strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = read_exactly(connection, int(headers.get("content-length", 0)))
            method, target, _ = first.split(" ")
            with self.lock:
                status, answer = self.answer(method, urlsplit(target), headers, body)
            payload = json.dumps(answer).encode()
            lines = [f"HTTP/1.1 {status} Some", "X-Elastic-Product: Elasticsearch", f"Content-Length: {len(payload)}"]
            lines += [f"Content-Type: {MIME};compatible-with=9", "\r\n"]
            connection.sendall("\r\n".join(lines).encode() + payload)

    def answer(self, method, target, headers, body):  # noqa: PLR0911 -- a table
        if "authorization" in headers:
            return error(401, "security_exception", "unable to authenticate user [shop]")
        index, _, act = target.path.strip("/").partition("/")
        if method == "PUT" and not act:
            if index in self.indices:
                return error(400, "resource_already_exists_exception", f"index [{index}] already exists")
            self.indices[index], self.searchable[index] = {}, {}
            return 200, {"acknowledged": True}
        if index not in self.indices:
            return error(404, "index_not_found_exception", f"no such index [{index}]")
        documents = self.indices[index]
        if act == "_mget":
            return 200, {"docs": [self.get(documents, name) for name in json.loads(body)["ids"]]}
        if act == "_bulk":
            lines = [json.loads(line) for line in body.splitlines()]
            return 200, {"items": list(self.bulk(documents, iter(lines))), "errors": False}
        if act == "_refresh":
            self.refresh(index)
            return 200, {}
        if act == "_delete_by_query":
            return 200, {"deleted": self.delete_by_query(index, json.loads(body), parse_qs(target.query))}
        return error(400, "illegal_argument_exception", target.path)

    def get(self, documents, name):
        if name not in documents:
            return {"_id": name, "found": False}
        sequence, source = documents[name]
        return {"_id": name, "found": True, "_seq_no": sequence, "_primary_term": 1, "_source": source}

    def bulk(self, documents, lines):
        for line in lines:
            ((action, meta),) = line.items()
            name = meta["_id"]
            if action == "delete":
                status = 200 if documents.pop(name, None) else 404
                yield {action: {"_id": name, "status": status}}
                continue
            source = next(lines)
            there = documents.get(name)
            wanted = meta.get("if_seq_no")
            if (action == "create" and there) or (wanted is not None and (there is None or there[0] != wanted)):
                yield {action: {"_id": name, "status": 409, "error": {"type": "version_conflict_engine_exception"}}}
                continue
            self.sequence += 1
            documents[name] = (self.sequence, source)
            yield {action: {"_id": name, "status": 200 if there else 201}}

    def delete_by_query(self, index, body, parameters):
        limit = body["query"]["range"]["expires_at"]["lte"]
        documents, seen = self.indices[index], self.searchable[index]
        gone = [name for name, source in seen.items() if source["expires_at"] and source["expires_at"] <= limit]
        deleted = sum(1 for name in gone if documents.pop(name, None))
        if parameters.get("refresh") == ["true"]:
            self.refresh(index)
        return deleted

    def refresh(self, index):
        self.searchable[index] = {name: source for name, (_, source) in self.indices[index].items()}


def error(status, kind, reason):
    cause = {"type": kind, "reason": reason}
    return status, {"error": cause | {"root_cause": [cause]}, "status": status}
