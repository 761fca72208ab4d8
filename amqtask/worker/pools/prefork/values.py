"""Outcomes, records and messages as they cross the pipe, and back. Owns which nested lists become which tuples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.execution.job import After, Begin, Outcome
from amqtask.results.base import Part, Record
from amqtask.wire.message import Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def plain_message(message: Outgoing) -> Outgoing:
    """A message that can be written: its headers may be any mapping."""
    properties = message.properties
    if properties.headers is not None:
        properties = properties._replace(headers=dict(properties.headers))
    return message._replace(properties=properties)


def plain_outcome(outcome: Outcome) -> Outcome:
    """An outcome whose messages can be written."""
    after = outcome.after
    if after is None or not after.messages:
        return outcome
    return outcome._replace(after=after._replace(messages=tuple(map(plain_message, after.messages))))


def message_of(fields: Sequence[Any]) -> Outgoing:
    """The message that was written as these values."""
    exchange, routing_key, properties, body = fields
    return Outgoing(exchange, routing_key, Properties(*properties), body)


def records_of(rows: Iterable[Sequence[Any]]) -> tuple[Record, ...]:
    """The records that were written as these values."""
    return tuple(Record(*row) for row in rows)


def begins_of(rows: Iterable[Sequence[Any]]) -> tuple[Begin, ...]:
    """The chords that were written as these values."""
    return tuple(Begin(*row) for row in rows)


def outcome_of(fields: Sequence[Any]) -> Outcome:
    """The outcome that was written as these values."""
    outcome = Outcome._make(fields)
    written: Any = outcome.after
    if written is None:
        return outcome
    messages, records, parts, chords = written
    after = After(
        tuple(map(message_of, messages)),
        records_of(records),
        tuple(Part(*part) for part in parts),
        begins_of(chords),
    )
    return outcome._replace(after=after)
