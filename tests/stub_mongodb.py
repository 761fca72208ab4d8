"""As much of a MongoDB server as the backend needs: its wire protocol, upserts with conditions, unique ids, finds.

It knows the messages OP_QUERY (for the greeting) and OP_MSG, and nobody's password.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import bson
from bson.codec_options import CodecOptions
from stub_server import StubServer, read_exactly

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
AWARE = CodecOptions(tz_aware=True, tzinfo=UTC)
LARGEST = 16 * 1024 * 1024


class StubMongoDB(StubServer):
    def __init__(self):
        self.collections = {}
        self.indexes = []
        super().__init__()

    def serve(self, connection):
        while True:
            length, request, _, kind = struct.unpack("<iiii", read_exactly(connection, 16))
            body = read_exactly(connection, length - 16)
            if kind == OP_QUERY:
                command = bson.decode(body[body.index(b"\0", 4) + 9 :])
                answer = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(self.answer(command))
                kind = OP_REPLY
            else:
                answer = b"\0\0\0\0\0" + bson.encode(self.answer(_command(body)))
            connection.sendall(struct.pack("<iiii", 16 + len(answer), 0, request, kind) + answer)

    def answer(self, command):
        name = next(iter(command))
        act = getattr(self, f"do_{name.lower()}", None)
        if act is None:
            return {"ok": 0, "code": 59, "codeName": "CommandNotFound", "errmsg": f"no such command: {name}"}
        with self.lock:
            return {"ok": 1.0, **act(command)}

    def do_hello(self, _):
        limits = {"maxBsonObjectSize": LARGEST, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000}
        versions = {"minWireVersion": 0, "maxWireVersion": 21}
        return {"helloOk": True, "isWritablePrimary": True, "ismaster": True, **limits, **versions}

    do_ismaster = do_hello

    def do_saslstart(self, _):
        return {"ok": 0.0, "code": 18, "codeName": "AuthenticationFailed", "errmsg": "Authentication failed."}

    def do_endsessions(self, _):
        return {}

    def do_createindexes(self, command):
        self.indexes += command["indexes"]
        return {}

    def do_find(self, command):
        documents = self.collections.setdefault(command["find"], {}).values()
        found = [one for one in documents if _matches(one, command["filter"])]
        return {"cursor": {"id": 0, "ns": f"{command['$db']}.{command['find']}", "firstBatch": found}}

    def do_delete(self, command):
        documents = self.collections.setdefault(command["delete"], {})
        gone = [key for one in command["deletes"] for key, value in documents.items() if _matches(value, one["q"])]
        for key in gone:
            documents.pop(key, None)
        return {"n": len(gone)}

    def do_update(self, command):
        documents = self.collections.setdefault(command["update"], {})
        problems, upserted = [], []
        for index, one in enumerate(command["updates"]):
            key = one["q"]["_id"]
            if key in documents and not _matches(documents[key], one["q"]):
                problems.append({"index": index, "code": 11000, "errmsg": f"E11000 duplicate key {key}"})
                continue
            if key not in documents:
                upserted.append({"index": index, "_id": key})
            documents[key] = {"_id": key} | documents.get(key, {}) | one["u"]["$set"]
        answer = {"n": len(command["updates"]) - len(problems), "nModified": 0}
        if upserted:
            answer["upserted"] = upserted
        return answer | ({"writeErrors": problems} if problems else {})


def _command(body):
    """The command of an OP_MSG, with the documents of its other sections in their places."""
    at, command, others = 4, {}, {}
    while at < len(body):
        kind, (size,) = body[at], struct.unpack_from("<i", body, at + 1)
        section = body[at + 1 : at + 1 + size]
        at += 1 + size
        if kind == 0:
            command = bson.decode(section, AWARE)
        else:
            end = section.index(b"\0", 4)
            others[section[4:end].decode()] = bson.decode_all(section[end + 1 :], AWARE)
    return command | others


def _matches(document, conditions):
    return all(_holds(document, field, wanted) for field, wanted in conditions.items())


def _holds(document, field, wanted):
    if field == "$or":
        return any(_matches(document, one) for one in wanted)
    value = document.get(field)
    if not isinstance(wanted, dict):
        return value == wanted
    ((operator, operand),) = wanted.items()
    if operator in ("$gt", "$lte"):  # only values of the same kind compare
        comparable = isinstance(value, datetime)
        return comparable and (value > operand if operator == "$gt" else value <= operand)
    return {"$in": lambda: value in operand, "$ne": lambda: value != operand}[operator]()
