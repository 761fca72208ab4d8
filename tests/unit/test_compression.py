"""Compressors: Celery's names and content types, the cap against bombs, and zstd by any of its libraries."""

from __future__ import annotations

import gzip
import importlib
import sys

import pytest

from amqtask.errors import ConfigError, DecodeError
from amqtask.execution.job import Job
from amqtask.execution.next_attempt import next_body
from amqtask.wire import zstd
from amqtask.wire.codec import decode, encode, serializers
from amqtask.wire.compression import CONTENT_TYPES, compress, decompress, known_compression
from amqtask.wire.message import Properties, TaskMessage

LIBRARIES = ["backports.zstd", "zstandard"]


@pytest.fixture(params=LIBRARIES)
def library(request, monkeypatch):
    for name in ("compression.zstd", *LIBRARIES):
        if name != request.param:
            monkeypatch.setitem(sys.modules, name, None)
    return importlib.import_module(request.param)


@pytest.fixture
def no_library(monkeypatch):
    for name in ("compression.zstd", *LIBRARIES):
        monkeypatch.setitem(sys.modules, name, None)


def test_names_and_content_types_are_celerys():
    compression = importlib.import_module("kombu.compression")
    for name, content_type in CONTENT_TYPES.items():
        if name == "bz2":
            continue  # ours alone
        _, theirs = compression.get_encoder(name)
        assert theirs == content_type


@pytest.mark.parametrize("name", CONTENT_TYPES)
def test_kombu_unpacks_what_we_pack_and_we_what_it_packs(name):
    compression = importlib.import_module("kombu.compression")
    body = bytes(range(256)) * 100
    packed, content_type = compress(body, name)
    assert compression.decompress(packed, content_type) == body
    assert decompress(compression.compress(body, content_type)[0], content_type) == body


def test_gzips_own_format_is_read_too():
    assert decompress(gzip.compress(b"x" * 1000), "application/x-gzip") == b"x" * 1000
    with pytest.raises(DecodeError, match="more than 999 bytes"):
        decompress(gzip.compress(b"x" * 1000), "application/x-gzip", limit=999)


def test_zstd_works_with_each_library(library):
    body = bytes(range(256)) * 5000
    packed = zstd.compress(body)
    assert decompress(packed, "application/zstd") == body
    assert decompress(packed, "zstd", limit=len(body)) == body
    with pytest.raises(DecodeError, match=f"more than {len(body) - 1} bytes"):
        decompress(packed, "zstd", limit=len(body) - 1)
    with pytest.raises(DecodeError, match="cut short"):
        decompress(packed[:-1], "zstd")
    with pytest.raises(DecodeError, match="cut short"):
        decompress(b"", "zstd")
    with pytest.raises(DecodeError, match="bytes after its end"):
        decompress(packed + b"more" * 40, "zstd")
    with pytest.raises(DecodeError, match="broken"):
        decompress(b"\x00garbage", "zstd")


def test_a_zstd_bomb_costs_little(library):
    bomb = zstd.compress(b"\0" * 200_000_000)
    assert len(bomb) < 50_000
    with pytest.raises(DecodeError, match="more than 1000000 bytes"):
        decompress(bomb, "zstd", limit=1_000_000)


def test_a_zstd_frame_that_asks_for_a_huge_window_is_refused(library):
    frame = b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00"  # window of 2 GiB, one empty last block
    with pytest.raises(DecodeError, match="broken"):
        decompress(frame, "zstd")


def test_zstd_without_a_library_names_the_extra(no_library):
    with pytest.raises(ConfigError, match=r'pip install "amqtask\[zstd\]"'):
        known_compression("zstd")
    with pytest.raises(ConfigError, match="zstd"):
        compress(b"", "zstd")
    with pytest.raises(DecodeError, match=r'pip install "amqtask\[zstd\]"'):
        decompress(b"", "application/zstd")


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'zlib'"):
        known_compression("zlibb")


@pytest.mark.parametrize("name", CONTENT_TYPES)
def test_the_next_attempt_is_packed_like_this_one(name):
    writer = serializers.get("json")
    message = TaskMessage("t", "i", ("x" * 100,))
    properties, body = encode(message, serializer=writer, compression=name)
    job = Job.of(1, "q", _Sent("", "q", body), properties, properties.headers)
    again = next_body(job, message, ValueError(), ["json"])
    assert decode(Properties(**properties._asdict()), again, ["json"]) == message


class _Sent:
    def __init__(self, exchange, routing_key, body):
        self.exchange, self.routing_key, self.body = exchange, routing_key, body
