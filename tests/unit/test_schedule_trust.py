"""Which messages of the scheduler's log are believed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from signing_settings import KEYS, keyed

from amqtask.schedules.records import HEADER, record_message
from amqtask.schedules.trust import LogTrust
from amqtask.wire.codec import encode, serializers
from amqtask.wire.message import TaskMessage

QUEUE = "amqtask.beat.app"
SIGNER = keyed("k")


def trust_of(*, required: bool) -> LogTrust:
    return LogTrust(
        SimpleNamespace(
            message_signing_keys=KEYS, message_signing_key="k", message_signing_required=required, message_max_age=None
        )
    )


@pytest.mark.parametrize("required", [True, False])
def test_what_is_signed_for_this_log_passes_and_for_another_does_not(required, caplog):
    trust = trust_of(required=required)
    message = trust.signed(record_message(QUEUE, "command", {"do": "pause", "name": "n"}))
    assert trust.passes(QUEUE, message.properties, message.body)
    assert not trust.passes("amqtask.beat.other", message.properties, message.body)
    assert "A message for the scheduler is left out" in caplog.text


@pytest.mark.parametrize("required", [True, False])
def test_what_is_signed_as_a_task_as_earlier_versions_did_passes_until_signatures_are_required(required, caplog):
    message = record_message(QUEUE, "command", {"do": "pause", "name": "n"})
    properties = SIGNER.sign(message.properties, message.body)
    assert trust_of(required=required).passes(QUEUE, properties, message.body) is not required
    assert bool(caplog.messages) is required


def test_a_signed_task_is_no_record_whatever_header_is_put_on_it():
    properties, body = encode(TaskMessage("task", "id"), serializer=serializers.get("json"))
    properties = SIGNER.sign(properties, body)
    properties = properties._replace(headers={**properties.headers, HEADER: None}, type="amqtask.beat.command")
    assert not trust_of(required=True).passes(QUEUE, properties, body)
