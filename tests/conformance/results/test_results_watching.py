"""How every result backend tells news."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from stores import record

from amqtask.wire.ids import new_id


@pytest.fixture
def writer(place):
    opened = place.open()
    yield opened
    opened.close()


def collect(watch, count, timeout=60.0):
    """News until there are documents of ``count`` tasks."""
    found = {}
    deadline = time.monotonic() + timeout
    while len(found) < count and time.monotonic() < deadline:
        found.update(watch.wait(deadline - time.monotonic()))
    return found


def test_a_watch_tells_what_is_stored_already(backend, task_id):
    backend.store([record(task_id)])
    watch = backend.watch([task_id, new_id()])
    assert watch.wait(60) == {task_id: record(task_id).document}
    assert watch.wait(0.05) == {}
    watch.close()


def test_a_watch_that_may_not_wait_tells_what_is_stored_already(backend, task_id):
    async def look():
        watch = backend.watch([task_id])
        found = await watch.await_(0)
        watch.close()
        await backend.aclose()
        return found

    backend.store([record(task_id)])
    watch = backend.watch([task_id])
    assert watch.wait(0) == asyncio.run(look()) == {task_id: record(task_id).document}
    watch.close()


def test_a_watch_tells_what_another_client_stores(backend, writer, task_id):
    watch = backend.watch([task_id])
    assert watch.wait(0) == {}
    thread = threading.Thread(target=writer.store, args=([record(task_id)],))
    thread.start()
    assert watch.wait(60) == {task_id: record(task_id).document}
    thread.join()
    watch.close()


def test_a_watch_tells_states_in_their_order(backend, writer, task_id):
    watch = backend.watch([task_id])
    for state in ("STARTED", "RETRY", "SUCCESS"):
        writer.store([record(task_id, state)])
        assert collect(watch, 1) == {task_id: record(task_id, state).document}
    assert watch.wait(0.05) == {}
    watch.close()


def test_a_watch_waits_no_longer_than_it_may(backend, task_id):
    watch = backend.watch([task_id])
    begin = time.monotonic()
    assert watch.wait(0.2) == {}
    assert time.monotonic() - begin >= 0.19
    watch.close()
    watch.close()


def test_one_watch_tells_of_many_tasks_each_once(backend, writer):
    records = [record(new_id(), result=number) for number in range(300)]
    watch = backend.watch([one.task_id for one in records])
    thread = threading.Thread(target=lambda: [writer.store(records[at : at + 50]) for at in range(0, 300, 50)])
    thread.start()
    assert collect(watch, 300) == {one.task_id: one.document for one in records}
    thread.join()
    assert watch.wait(0.05) == {}
    watch.close()


def test_two_watches_of_one_task_both_tell(backend, writer, task_id):
    watches = [backend.watch([task_id]) for _ in range(2)]
    writer.store([record(task_id)])
    for watch in watches:
        assert collect(watch, 1) == {task_id: record(task_id).document}
        watch.close()


def test_coroutines_watch_without_blocking_the_loop(backend, writer, task_id):
    async def main():
        watch = backend.watch([task_id])
        assert await watch.await_(0.05) == {}
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1
                if ticks == 10:
                    writer.store([record(task_id)])

        ticking = asyncio.ensure_future(tick())
        found = await watch.await_(60)
        ticking.cancel()
        watch.close()
        await backend.aclose()
        return found, ticks

    found, ticks = asyncio.run(main())
    assert found == {task_id: record(task_id).document}
    assert ticks >= 10


def test_a_watch_that_is_cancelled_leaves_the_backend_usable(backend, writer, task_id):
    async def main():
        watch = backend.watch([task_id])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.await_(None), 0.1)
        writer.store([record(task_id)])
        found = await watch.await_(60)
        watch.close()
        await backend.aclose()
        return found

    assert asyncio.run(main()) == {task_id: record(task_id).document}
