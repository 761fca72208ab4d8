"""Schedulers that are killed and frozen: every due time is sent once. Ten minutes of it: benchmarks/soaks/beat.py."""

from __future__ import annotations

import signal

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
        wait_for(lambda: dues.extend(due for _, due in taken(crowd.app)) or len(dues) >= wanted, timeout=20)
        return True

    first, second, third = (crowd.start() for _ in range(3))
    arrived(4)
    leader = next(one for one in (first, second, third) if f"{one.pid}" in _leaders(crowd)[-1:])
    others = [one for one in (first, second, third) if one is not leader]
    leader.send_signal(signal.SIGKILL)
    arrived(4)
    frozen = next(one for one in others if f"{one.pid}" in _leaders(crowd)[-1:])
    frozen.send_signal(signal.SIGSTOP)
    arrived(4)  # those of the time until the broker noticed included
    frozen.send_signal(signal.SIGCONT)  # it believes that it leads, for a moment
    arrived(4)
    assert judged(dues, 0.25) == (0, 0)
    assert dues == sorted(dues)


def _leaders(crowd: Crowd) -> list[str]:
    """Process ids of those that have come to lead, in order."""
    return [line.split("pid ")[1].split(")")[0] for line in crowd.log.splitlines() if "Leading (pid" in line]
