"""What parent and child tell each other in shared memory, and that a child can't outrun its sentence."""

from __future__ import annotations

import itertools
import sys
import threading
import time

from amqtask.worker.pools.prefork.cells import Cells

SLOT = 3
LEAST = 5000


def test_running_job_is_told_with_its_start() -> None:
    cells = Cells(4)
    before = time.monotonic()
    assert cells.started(SLOT) is None
    cells.begin(SLOT, 0)
    started = cells.started(SLOT)
    assert started is not None
    assert started[0] == cells.running(SLOT) == 0
    assert before <= started[1] <= time.monotonic()
    ended = time.monotonic()
    cells.end(SLOT)
    assert cells.running(SLOT) is None
    assert ended <= cells.moved(SLOT) <= time.monotonic()
    cells.clear(SLOT)
    assert cells.moved(SLOT) == 0


def test_job_that_has_ended_is_not_condemned() -> None:
    cells = Cells(4)
    cells.begin(SLOT, 7)
    assert cells.condemn(SLOT, 7)
    assert cells.condemned(SLOT) == 7
    cells.begin(SLOT, 8)
    assert not cells.condemn(SLOT, 7)
    assert cells.condemned(SLOT) is None


def test_slots_do_not_touch_each_other() -> None:
    cells = Cells(4)
    for slot in range(4):
        cells.begin(slot, slot)
    cells.interrupt(1, 1)
    cells.clear(2)
    assert [cells.running(slot) for slot in range(4)] == [0, 1, None, 3]
    assert [cells.interrupted(slot) for slot in range(4)] == [None, 1, None, None]


def test_child_never_goes_on_past_the_job_that_it_is_killed_for() -> None:
    """Parent and child race at the end of many jobs."""
    cells = Cells(1)
    killed: set[int] = set()
    passed: set[int] = set()
    ended = threading.Event()

    def parent() -> None:
        while not ended.is_set():
            key = cells.running(0)
            if key is not None and key not in killed and cells.condemn(0, key):
                killed.add(key)

    def child() -> None:
        for key in itertools.count():
            if key >= LEAST and killed and passed:
                return
            cells.begin(0, key)
            cells.end(0)
            while cells.condemned(0) == key and key not in killed:
                pass  # until it is pardoned
            if cells.condemned(0) == key:
                cells.clear(0)  # dead; here comes the next one
            else:
                passed.add(key)

    thread = threading.Thread(target=parent)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        child()
    finally:
        ended.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert len(killed | passed) >= LEAST
    assert not killed & passed
