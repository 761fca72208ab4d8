"""``celery.canvas``: signatures and what is made of them."""

from __future__ import annotations

from amqtask.canvas.chain import chain
from amqtask.canvas.chord import chord
from amqtask.canvas.group import group
from amqtask.canvas.maps import chunks, xmap, xstarmap
from amqtask.canvas.signature import Signature, maybe_signature, signature
from amqtask.canvas.stamps import StampingVisitor

subtask = signature

__all__ = [
    "Signature",
    "StampingVisitor",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
