"""The zstd compressor, of whichever library there is: Python's own (3.14), backports.zstd or zstandard.

Owns the choice, and zstandard's different shape. Imported only when a body is compressed with zstd.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOW_LOG = 27
"""Largest window that a frame may ask for, as a power of two: 128 MiB, allocated before anything is unpacked."""

_BITE = 64
"""Bytes given to zstandard at a time. It knows no limit of its own, and a block of 4 bytes unpacks to 128 KiB."""


class Bounded:
    """zstandard's decompressor with the limit that the others have.

    Attributes:
        eof: the frame has ended.
        unused_data: what followed it.
    """

    def __init__(self, module: Any) -> None:
        self._stream = module.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).decompressobj()
        self.eof, self.unused_data = False, b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Unpack a whole frame; stops above ``max_length`` bytes, which cost at most 2 MiB more."""
        parts, size = [], 0
        for start in range(0, len(data), _BITE):
            part = self._stream.decompress(data[start : start + _BITE])
            parts.append(part)
            size += len(part)
            if self._stream.eof:
                self.eof, self.unused_data = True, self._stream.unused_data + data[start + _BITE :]
                break
            if size >= max_length:
                break
        return b"".join(parts)[:max_length]


def libraries() -> list[str]:
    """Modules that know zstd, the best one first."""
    return ["compression.zstd", "backports.zstd", "zstandard"]


def _module() -> Any:
    for name in libraries():
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ConfigError('compression zstd needs a library: pip install "amqtask[zstd]"')


def compress(body: bytes) -> bytes:
    """One frame.

    Raises:
        ConfigError: no library is installed.
    """
    packed: bytes = _module().compress(body)
    return packed


def decompressor() -> Any:
    """An object with ``decompress(data, max_length)``, ``eof`` and ``unused_data``.

    Raises:
        ConfigError: no library is installed.
    """
    module = _module()
    if module.__name__ == "zstandard":
        return Bounded(module)
    make: Callable[..., Any] = module.ZstdDecompressor
    return make(options={module.DecompressionParameter.window_log_max: _WINDOW_LOG})
