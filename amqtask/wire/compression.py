"""Body compression by name and by content type, with a cap against decompression bombs.

Owns the compressors. Header values are Celery's: both ``zlib`` and ``gzip`` are a zlib stream under
``application/x-gzip``.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Protocol

from amqtask.errors import ConfigError, DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DECOMPRESSED = 128 * 1024 * 1024
"""Bytes a body may unpack to; RabbitMQ itself takes no message above 128 MiB."""

_MAX_MEMORY = 256 * 1024 * 1024
"""Bytes an xz stream may ask for as its dictionary, which is allocated before anything is unpacked."""


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
    "lzma": "application/x-lzma",
    "xz": "application/x-lzma",
}
"""Name -> value of the header ``compression``."""

_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": zlib.compress,
    "application/x-bz2": bz2.compress,
    "application/x-lzma": lzma.compress,
}

_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "application/x-gzip": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=_MAX_MEMORY),
}


def known_compression(name: str) -> str:
    """The name, if there is a compressor of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in CONTENT_TYPES:
        raise ConfigError(f"unknown compression {name!r}; there are {', '.join(sorted(CONTENT_TYPES))}")
    return name


def compress(body: bytes, name: str) -> tuple[bytes, str]:
    """Compress with the compressor of this name; returns the body and the value of the compression header.

    Raises:
        ConfigError: there is no such compressor.
    """
    content_type = CONTENT_TYPES[known_compression(name)]
    return _COMPRESS[content_type](body), content_type


def decompress(body: bytes, content_type: object, limit: int = MAX_DECOMPRESSED) -> bytes:
    """Undo :func:`compress`.

    Args:
        body: the compressed bytes.
        content_type: value of the header, or a compressor's name; whatever a stranger may have put there.
        limit: bytes of the result.

    Raises:
        DecodeError: unknown compression, broken data, or more than ``limit`` bytes.
    """
    factory = None
    if isinstance(content_type, str):
        factory = _DECOMPRESSORS.get(CONTENT_TYPES.get(content_type, content_type))
    if factory is None:
        raise DecodeError(f"unknown compression {content_type!r}")
    try:
        stream = factory()
        plain = stream.decompress(body, limit + 1)
    except (OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError) as error:
        raise DecodeError(f"broken {content_type} body: {error}") from None
    if len(plain) > limit:
        raise DecodeError(f"the body unpacks to more than {limit} bytes")
    if not stream.eof:
        raise DecodeError(f"the {content_type} body is cut short")
    if stream.unused_data:
        raise DecodeError(f"the {content_type} body has bytes after its end")
    return plain
