"""The tasks: hash and compress files, small ones and large ones in queues of their own.

Which queue a task's messages go to is not written here but in routing.yaml, by the task's name.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import zlib
from pathlib import Path
from typing import Any

from amqtask import Amqtask, Task
from examples.files.measure import measured

ROUTING = Path(__file__).resolve().parents[2] / "routing.yaml"

app = Amqtask("files", routing=ROUTING)

HOPELESS = (FileNotFoundError, PermissionError, IsADirectoryError, gzip.BadGzipFile, EOFError, zlib.error)
"""What another attempt would not change: such a message goes to the dead-letter queue at once."""

MEBIBYTE = 1 << 20


@app.task(name="files.hash_small", bind=True, dont_autoretry_for=HOPELESS)
def hash_small(self: Task[..., Any], path: str) -> str:
    """The SHA-256 of a file that fits into memory."""
    with measured(self.request):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@app.task(name="files.compress_small", bind=True, dont_autoretry_for=HOPELESS)
def compress_small(self: Task[..., Any], path: str) -> float:
    """How small a file gets, as a fraction of its size."""
    with measured(self.request):
        data = Path(path).read_bytes()
        return len(zlib.compress(data)) / max(len(data), 1)


@app.task(name="files.unpack_small", bind=True, dont_autoretry_for=HOPELESS)
def unpack_small(self: Task[..., Any], path: str) -> int:
    """The size of what is in a gzip file; a corrupt one ends in the dead-letter queue, with the reason."""
    with measured(self.request):
        return len(gzip.decompress(Path(path).read_bytes()))


@app.task(name="files.hash_large", bind=True, dont_autoretry_for=HOPELESS)
def hash_large(self: Task[..., Any], path: str) -> str:
    """The SHA-256 of a file of any size."""
    with measured(self.request), Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@app.task(name="files.compress_large", bind=True, dont_autoretry_for=HOPELESS)
def compress_large(self: Task[..., Any], path: str) -> float:
    """How small a file of any size gets with the stronger algorithm, as a fraction of its size."""
    with measured(self.request), Path(path).open("rb") as file:
        packer = lzma.LZMACompressor(preset=0)
        before = after = 0
        while block := file.read(MEBIBYTE):
            before += len(block)
            after += len(packer.compress(block))
        return (after + len(packer.flush())) / max(before, 1)


@app.task(name="files.flaky", bind=True)
def flaky(self: Task[..., Any], path: str, failures: int) -> str:
    """Fails at first, like a file on a remote disk; the queue's policy tries again, later each time."""
    with measured(self.request):
        if self.request.retries < failures:
            raise ConnectionError(f"the share of {Path(path).name} does not answer")
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@app.task(name="files.announce", bind=True)
def announce(self: Task[..., Any], text: str) -> str:
    """Sent to a fanout exchange, so it runs once in each queue that is bound to it."""
    with measured(self.request):
        return text
