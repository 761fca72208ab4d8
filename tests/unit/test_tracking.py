"""What is stored of calls as they are sent, when one could not be."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from memory_backend import MemoryBackend

from amqtask.app.tracking import Tracking
from amqtask.config.settings import Settings
from amqtask.errors import BrokerUnavailable, PublishTimeout
from amqtask.wire.message import Outgoing, Properties


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def call(task_id: str) -> Outgoing:
    properties = Properties(correlation_id=task_id, headers={"id": task_id, "task": "mail.send"})
    return Outgoing(exchange="", routing_key="mail", properties=properties, body=b"[[], {}, {}]")


def tracking(backend: MemoryBackend, *accept: str) -> Tracking:
    settings = Settings(result_backend="memory://", result_track_sent=True, accept_content=accept or ("json",))
    return Tracking(settings, backend)


@pytest.mark.parametrize("accept", ["json", "application/json"])
def test_of_calls_that_were_not_sent_nothing_stays_but_of_those_that_may_have_been(accept):
    backend, messages = MemoryBackend(), [call("sent"), call("lost"), call("doubtful")]
    told = tracking(backend, accept)
    told.about_to_send(messages)
    told.not_sent(messages, {1: BrokerUnavailable("gone"), 2: PublishTimeout("late")})
    assert set(backend.documents) == {"sent", "doubtful"}


def test_no_pickle_is_read_for_that_without_consent(tmp_path):
    backend, trap = MemoryBackend(), tmp_path / "sprung"
    backend.documents["lost"] = pickle.dumps({"task_id": "lost", "status": "QUEUED", "result": Trap(trap)})
    tracking(backend, "json", "pickle").not_sent([call("lost")], {0: BrokerUnavailable("gone")})
    assert not trap.exists()
