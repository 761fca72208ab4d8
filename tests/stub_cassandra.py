"""As much of a Cassandra server as the backend needs: the native protocol (version 4), prepared statements, TTLs.

It parses just the statements that the backend prepares; the types of columns it learns from CREATE TABLE.
"""

from __future__ import annotations

import hashlib
import re
import struct
import time
import uuid

from private_broker.processes import HOST
from stub_server import StubServer, read_exactly

ERROR, STARTUP, READY, AUTHENTICATE, OPTIONS, SUPPORTED = 0, 1, 2, 3, 5, 6
QUERY, RESULT, PREPARE, EXECUTE, REGISTER, AUTH_RESPONSE, AUTH_SUCCESS = 7, 8, 9, 10, 11, 15, 16
VOID, ROWS, SET_KEYSPACE, PREPARED, SCHEMA_CHANGE = 1, 2, 3, 4, 5
TYPES = {"text": 13, "boolean": 4, "blob": 3, "int": 9, "uuid": 12, "inet": 16}
TEXT = 13

LOCAL = {
    "key": ("text", b"local"),
    "cluster_name": ("text", b"stub"),
    "data_center": ("text", b"dc1"),
    "rack": ("text", b"r1"),
    "partitioner": ("text", b"org.apache.cassandra.dht.Murmur3Partitioner"),
    "release_version": ("text", b"4.1.0"),
    "host_id": ("uuid", uuid.UUID(int=1).bytes),
    "schema_version": ("uuid", uuid.UUID(int=2).bytes),
    "rpc_address": ("inet", bytes(map(int, HOST.split(".")))),
    "broadcast_address": ("inet", bytes(map(int, HOST.split(".")))),
    "listen_address": ("inet", bytes(map(int, HOST.split(".")))),
}


class StubCassandra(StubServer):
    def __init__(self):
        self.tables = {}
        self.rows = {}
        self.prepared = {}
        super().__init__()

    def serve(self, connection):
        while True:
            _, _, stream, code, length = struct.unpack(">BBhBi", read_exactly(connection, 9))
            body = read_exactly(connection, length)
            with self.lock:
                kind, answer = self.answer(code, body)
            connection.sendall(struct.pack(">BBhBi", 0x84, 0, stream, kind, len(answer)) + answer)

    def answer(self, code, body):  # noqa: PLR0911 -- a table
        if code == OPTIONS:
            none = text("COMPRESSION") + struct.pack(">H", 0)
            return SUPPORTED, struct.pack(">H", 2) + text("CQL_VERSION") + struct.pack(">H", 1) + text("3.4.5") + none
        if code == STARTUP:
            return AUTHENTICATE, text("org.apache.cassandra.auth.PasswordAuthenticator")
        if code == AUTH_RESPONSE:
            if body[4:] == b"\0shop\0sesame":
                return AUTH_SUCCESS, struct.pack(">i", -1)
            return ERROR, struct.pack(">i", 0x0100) + text("Provided username shop and/or password are incorrect")
        if code == REGISTER:
            return READY, b""
        if code == QUERY:
            (length,) = struct.unpack_from(">i", body)
            return RESULT, self.query(body[4 : 4 + length].decode())
        if code == PREPARE:
            return RESULT, self.prepare(body[4:].decode())
        assert code == EXECUTE
        return RESULT, self.execute(body)

    def query(self, statement):
        if statement.startswith("USE"):
            return struct.pack(">i", SET_KEYSPACE) + text(statement.split()[1].strip('"'))
        if statement.startswith("CREATE TABLE"):
            name, columns = re.search(r"EXISTS (\w+) \((.*)\)", statement).groups()
            self.tables[name] = dict(re.findall(r"(\w+) (text|boolean|blob)", columns))
            self.rows.setdefault(name, {})
            change = text("CREATED") + text("TABLE") + text("shop") + text(name)
            return struct.pack(">i", SCHEMA_CHANGE) + change
        wanted = re.search(r"SELECT (.*) FROM system.local", statement)
        if wanted is None:
            assert "FROM system.peers" in statement, statement
            return rows("system", "peers", [("peer", "inet")], [])
        names = [name for name in wanted[1].replace(" ", "").split(",") if name in LOCAL] or list(LOCAL)
        return rows("system", "local", [(name, LOCAL[name][0]) for name in names], [[LOCAL[name][1] for name in names]])

    def prepare(self, statement):
        key = hashlib.md5(statement.encode()).digest()
        table = re.search(r"(?:INTO|FROM) (\w+)", statement)[1]
        types = self.tables[table]
        given = re.search(r"\(([\w, ]+)\) VALUES", statement) or re.search(r"WHERE (\w+)", statement)
        names = [(name, types[name]) for name in given[1].split(", ")]
        if "USING TTL" in statement:
            names.append(("[ttl]", "int"))
        taken = re.search(r"SELECT ([\w, ]+) FROM", statement)
        results = [(name, types[name]) for name in taken[1].split(", ")] if taken else []
        self.prepared[key] = (statement.split()[0], table, [name for name, _ in names], results)
        about = struct.pack(">iiiH", 1, len(names), 1, 0) + text("shop") + text(table) + specifications(names)
        after = struct.pack(">ii", 1, len(results)) + text("shop") + text(table) + specifications(results)
        return struct.pack(">iH", PREPARED, len(key)) + key + about + (after if results else struct.pack(">ii", 4, 0))

    def execute(self, body):
        (length,) = struct.unpack_from(">H", body)
        action, table, names, results = self.prepared[body[2 : 2 + length]]
        values = dict(zip(names, values_in(body, 2 + length + 2), strict=True))
        partitions = self.rows[table]
        key = values.get("task_id", values.get("group_id"))
        if action == "INSERT":
            (ttl,) = struct.unpack(">i", values.pop("[ttl]"))
            expires = time.time() + ttl if ttl else float("inf")
            partitions.setdefault(key, {})[values.get("success")] = (expires, values)
        elif action == "DELETE":
            partitions.pop(key, None)
        else:
            live = [row for expires, row in partitions.get(key, {}).values() if expires > time.time()]
            return rows("shop", table, results, [[row[name] for name, _ in results] for row in live])
        return struct.pack(">i", VOID)


def text(value):
    return struct.pack(">H", len(value.encode())) + value.encode()


def specifications(columns):
    return b"".join(text(name) + struct.pack(">H", TYPES[kind]) for name, kind in columns)


def rows(keyspace, table, columns, found):
    about = struct.pack(">iii", ROWS, 1, len(columns)) + text(keyspace) + text(table) + specifications(columns)
    every = (one for row in found for one in row)
    values = (struct.pack(">i", -1) if one is None else struct.pack(">i", len(one)) + one for one in every)
    return about + struct.pack(">i", len(found)) + b"".join(values)


def values_in(body, at):
    """The values of an EXECUTE, from its flags on."""
    (count,) = struct.unpack_from(">H", body, at + 1)
    at += 3
    for _ in range(count):
        (length,) = struct.unpack_from(">i", body, at)
        at += 4
        yield None if length < 0 else body[at : at + length]
        at += max(length, 0)
