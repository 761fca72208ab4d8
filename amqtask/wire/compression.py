"""Body compression by name and by content type, with a cap against decompression bombs.

Owns the compressors. Header values are Celery's: both ``zlib`` and ``gzip`` write a zlib stream under
``application/x-gzip``; what is read there may be gzip's own format too.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Protocol

from amqtask.errors import ConfigError, DecodeError, MessageTooLarge
from amqtask.plugins import did_you_mean
from amqtask.wire import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DECOMPRESSED = 128 * 1024 * 1024
"""Bytes that a result from a store may unpack to."""

MAX_BODY = 16 * 1024 * 1024
"""Bytes that a message's body may unpack to, unless ``broker_max_message_size`` says otherwise: no more than RabbitMQ
takes as it is. What is read of it can be seventy times as large."""

_MAX_MEMORY = 256 * 1024 * 1024
"""Bytes an xz stream may ask for as its dictionary, which is allocated before anything is unpacked."""


_ZLIB_OR_GZIP = zlib.MAX_WBITS + 32
"""Makes zlib look at the first bytes; clients in other languages take the header's name by its word."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


CONTENT_TYPES = {
    "zlib": "application/x-gzip",
    "gzip": "application/x-gzip",
    "bz2": "application/x-bz2",
    "bzip2": "application/x-bz2",
    "bzip": "application/x-bz2",
    "lzma": "application/x-lzma",
    "xz": "application/x-lzma",
    "zstd": "application/zstd",
    "zstandard": "application/zstd",
}
"""Name -> value of the header ``compression``."""

_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": zlib.compress,
    "application/x-bz2": bz2.compress,
    "application/x-lzma": lzma.compress,
    "application/zstd": zstd.compress,
}

_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "application/x-gzip": lambda: zlib.decompressobj(_ZLIB_OR_GZIP),
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=_MAX_MEMORY),
    "application/zstd": zstd.decompressor,
}


def known_compression(name: str) -> str:
    """The name, or value of a compression header, if there is a compressor for it.

    Raises:
        ConfigError: there is none, or it needs a library that is not installed.
    """
    content_type = CONTENT_TYPES.get(name, name)
    if content_type not in _COMPRESS:
        known = sorted(CONTENT_TYPES)
        raise ConfigError(f"unknown compression {name!r}; there are {', '.join(known)}{did_you_mean(name, known)}")
    if content_type == "application/zstd":
        zstd.decompressor()
    return name


def compress(body: bytes, name: str, limit: int | None = None) -> tuple[bytes, str]:
    """Compress; returns the body and the value of the compression header.

    Args:
        body: what to compress.
        name: of the compressor, or the value of a received compression header.
        limit: bytes of the body that are unpacked where it is received; None: any number.

    Raises:
        ConfigError: there is no such compressor, or it needs a library that is not installed.
        MessageTooLarge: the body is over ``limit``.
    """
    if limit is not None and len(body) > limit:
        raise MessageTooLarge(
            f"the body has {len(body)} bytes before it is compressed, more than broker_max_message_size ({limit}), "
            "and workers unpack no more; keep large data elsewhere and send a reference"
        )
    name = known_compression(name)
    content_type = CONTENT_TYPES.get(name, name)
    return _COMPRESS[content_type](body), content_type


def decompress(body: bytes, content_type: object, limit: int = MAX_DECOMPRESSED) -> bytes:
    """Undo :func:`compress`.

    Args:
        body: the compressed bytes.
        content_type: value of the header, or a compressor's name; whatever a client may have put there.
        limit: bytes of the result.

    Raises:
        DecodeError: unknown compression, or its library is missing; broken data, or more than ``limit`` bytes.
    """
    factory = None
    if isinstance(content_type, str):
        factory = _DECOMPRESSORS.get(CONTENT_TYPES.get(content_type, content_type))
    if factory is None:
        raise DecodeError(f"unknown compression {content_type!r}")
    try:
        stream = factory()
        plain = stream.decompress(body, limit + 1)
    except ConfigError as error:
        raise DecodeError(f"the {content_type} body can't be unpacked: {error}") from None
    except Exception as error:  # the libraries have many, some of their own
        raise DecodeError(f"broken {content_type} body: {error}") from None
    if len(plain) > limit:
        raise DecodeError(f"the body unpacks to more than {limit} bytes")
    if not stream.eof:
        raise DecodeError(f"the {content_type} body is cut short")
    if stream.unused_data:
        raise DecodeError(f"the {content_type} body has bytes after its end")
    return plain
