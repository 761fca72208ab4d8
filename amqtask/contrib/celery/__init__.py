"""Celery's names over amqtask: a Celery program runs with its imports changed, beside workers and clients of Celery.

    from amqtask.contrib.celery import Celery, chain, shared_task

Owns the list of names. An app made here is a member of a Celery deployment (``interop="celery"``). The few things that
amqtask does not have raise :class:`~amqtask.contrib.celery.absent.Unavailable` when used.
"""

from __future__ import annotations

from amqtask.canvas.chain import chain
from amqtask.canvas.chord import chord
from amqtask.canvas.group import group
from amqtask.canvas.maps import chunks, xmap, xstarmap
from amqtask.canvas.signature import Signature, maybe_signature, signature
from amqtask.canvas.stamps import StampingVisitor
from amqtask.contrib.celery import exceptions, platforms, schedules, signals, states
from amqtask.contrib.celery.app import Celery
from amqtask.contrib.celery.proxies import current_app, current_task
from amqtask.contrib.celery.shared import shared_task
from amqtask.contrib.celery.task import Task
from amqtask.results.eager import EagerResult
from amqtask.results.future import AsyncResult
from amqtask.results.group import GroupResult, ResultSet
from amqtask.results.joining import allow_join_result
from amqtask.wire.ids import new_id as uuid

subtask = signature
maybe_subtask = maybe_signature

__all__ = [
    "AsyncResult",
    "Celery",
    "EagerResult",
    "GroupResult",
    "ResultSet",
    "Signature",
    "StampingVisitor",
    "Task",
    "allow_join_result",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "exceptions",
    "group",
    "maybe_signature",
    "maybe_subtask",
    "platforms",
    "schedules",
    "shared_task",
    "signals",
    "signature",
    "states",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
]
