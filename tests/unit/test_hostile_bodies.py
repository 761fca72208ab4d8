"""Bodies made to hurt whoever reads them: deep ones, and small ones that become large."""

from __future__ import annotations

import subprocess
import sys
import threading
import zlib

import msgpack
import pytest

from amqtask import Amqtask
from amqtask.app.dead import DeadMessage
from amqtask.cli.commands.dead import _details
from amqtask.control.messages import read_request
from amqtask.errors import DecodeError, EncodeError, MessageTooLarge
from amqtask.execution.executor import Executor
from amqtask.execution.job import Job, Kind
from amqtask.wire.codec import decode, encode, serializers
from amqtask.wire.message import Properties, TaskMessage

BINARY = Properties("application/x-msgpack", "binary", {"task": "t", "id": "i"})
WRITER = serializers.get("msgpack")


def nested(levels):
    """A set in a set in a set, as msgpack."""
    value = b"\x01"
    for _ in range(levels):
        value = msgpack.packb(msgpack.ExtType(42, b"\x92\xa9frozenset\x91" + value))
    return value


def test_what_is_nested_too_deep_kills_nobody():
    """In a process of its own: it was a segmentation fault, long before Python's own limit."""
    program = (
        "import sys; from amqtask.wire.serializers.msgpack import SERIALIZER\n"
        "try: SERIALIZER.loads(sys.stdin.buffer.read())\n"
        "except ValueError: print('refused')"
    )
    for levels in (400, 2000):
        done = subprocess.run([sys.executable, "-c", program], input=nested(levels), capture_output=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, b"refused"), done.stderr


def test_a_value_nested_as_deep_as_may_be_is_read_on_a_small_stack():
    value = 1
    for _ in range(16):
        value = frozenset({value})
    read = []
    before = threading.stack_size(1024 * 1024)
    try:
        thread = threading.Thread(target=lambda: read.append(WRITER.loads(WRITER.dumps([value]))))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert read == [[value]]
    with pytest.raises(EncodeError, match="nested deeper than 16"):
        encode(TaskMessage("t", "i", (frozenset({value}),)), serializer=WRITER)


def test_depth_does_not_add_up_side_by_side():
    value = [{frozenset({n})} for n in range(100)]
    assert WRITER.loads(WRITER.dumps(value)) == value


def test_whoever_reads_it_says_that_it_is_nested_too_deep():
    with pytest.raises(DecodeError, match="nested deeper than 16"):
        decode(BINARY, b"\x93\x91" + nested(17) + b"\x80\x80", ["msgpack"])
    with pytest.raises(DecodeError, match="nested deeper than 16"):
        read_request(BINARY, b"\x81\xa1k" + nested(17), ["json", "msgpack"])


def test_a_small_body_does_not_become_a_large_one():
    """33 kB that would be 33 million lists, and 2 GB."""
    body = zlib.compress(b"\xdd" + (2**25).to_bytes(4) + b"\x90" * 2**25)
    properties = BINARY._replace(headers={**BINARY.headers, "compression": "zlib"})
    with pytest.raises(DecodeError, match="unpacks to more than 16777216 bytes"):
        decode(properties, body, ["msgpack"])


def test_what_a_body_may_unpack_to_is_what_may_be_sent_at_once():
    app = Amqtask("shop", broker="amqp://localhost", broker_max_message_size=5000, task_compression="zlib")
    app.task(name="t")(len)
    executor = Executor(app, "w@h")

    def run(size):
        sent, body = encode(TaskMessage("t", "i", ("x" * size,)), serializer=WRITER, compression="zlib")
        job = Job(1, "q", "", "q", False, 0, sent.content_type, None, "i", None, None, None, sent.headers, body)
        return executor.run(job).kind

    assert (run(4900), run(5100)) == (Kind.SUCCESS, Kind.UNDECODABLE)
    with pytest.raises(MessageTooLarge, match="broker_max_message_size"):
        app.tasks["t"].delay("x" * 5100)


def test_what_a_worker_may_read_can_be_looked_at_where_it_is_dead():
    sent, body = encode(TaskMessage("t", "i", ("x" * 5100,)), serializer=WRITER, compression="zlib")
    message = DeadMessage("i", "t", *[None] * 8, {}, sent, body)
    for limit, seen in ((5000, None), (6000, {"args": ["x" * 5100], "kwargs": {}})):
        app = Amqtask("shop", broker="amqp://localhost", broker_max_message_size=limit)
        shown = _details(message, app)
        assert {name: shown[name] for name in ("args", "kwargs") if name in shown} == (seen or {})


def test_a_retry_does_not_send_what_the_next_attempt_could_not_unpack():
    app = Amqtask("shop", broker="amqp://localhost", broker_max_message_size=5000)

    @app.task(name="t", bind=True)
    def grow(self, _text):
        raise self.retry(args=("x" * 5100,))

    sent, body = encode(TaskMessage("t", "i", ("x",)), serializer=WRITER, compression="zlib")
    job = Job(1, "q", "", "q", False, 0, sent.content_type, None, "i", None, None, None, sent.headers, body)
    outcome = Executor(app, "w@h").run(job)
    assert outcome.kind == Kind.FAILED
    assert outcome.error[0] == "amqtask.errors.MessageTooLarge"
