"""Schedulers that are killed and frozen: every due time is sent once. Ten minutes of it: benchmarks/soaks/beat.py."""

from __future__ import annotations

import signal
from subprocess import Popen

import pytest
from beats import Crowd, judged, taken
from waiting import wait_for

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def crowd(tmp_path, vhost_url):
    made = Crowd(tmp_path, vhost_url, every=0.25, heartbeat=1)
    yield made
    made.close()


def test_every_due_time_is_sent_once_while_leaders_are_killed_and_frozen(crowd):
    dues: list[float] = []

    def arrived(more: int) -> bool:
        wanted = len(dues) + more
        wait_for(lambda: dues.extend(due for _, due in taken(crowd.app)) or len(dues) >= wanted)
        return True

    def leading(*candidates: Popen[bytes]) -> Popen[bytes]:
        """Whichever of these leads; a leader that has just ended may be the last that was told."""
        return wait_for(lambda: next((one for one in candidates if f"{one.pid}" in _leaders(crowd)[-1:]), None))

    started = [crowd.start() for _ in range(3)]
    arrived(4)
    leader = leading(*started)
    leader.send_signal(signal.SIGKILL)
    arrived(4)
    frozen = leading(*(one for one in started if one is not leader))
    frozen.send_signal(signal.SIGSTOP)
    arrived(4)  # those of the time until the broker noticed included
    frozen.send_signal(signal.SIGCONT)  # it believes that it leads, for a moment
    arrived(4)
    assert judged(dues, 0.25) == (0, 0)
    assert dues == sorted(dues)


def _leaders(crowd: Crowd) -> list[str]:
    """Process ids of those that have come to lead, in order."""
    return [line.split("pid ")[1].split(")")[0] for line in crowd.log.splitlines() if "Leading (pid" in line]
