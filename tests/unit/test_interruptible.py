"""A coroutine that is interrupted sees the exception where it waits, once, and may go on."""

from __future__ import annotations

import asyncio
import selectors
import signal
from typing import Any

import pytest
from interrupts import inside, signalled

from amqtask.execution.interruptible import Interruptible


class Late(Exception):
    """Comes from outside."""


async def patient(seen: list[str]) -> str:
    try:
        await asyncio.sleep(30)
    except Late:
        seen.append("late")
        await asyncio.sleep(0)
        return "cleaned"
    return "slept"


def run(inner: Interruptible, *, after: float = 0.01) -> Any:
    async def main() -> Any:
        asyncio.get_running_loop().call_later(after, inner.interrupt, Late())
        return await inner

    return asyncio.run(main())


def test_exception_is_raised_where_the_coroutine_waits_and_can_be_caught() -> None:
    seen: list[str] = []
    assert run(Interruptible(patient(seen))) == "cleaned"
    assert seen == ["late"]


def test_exception_that_is_not_caught_comes_out_of_it() -> None:
    async def careless() -> None:
        await asyncio.sleep(30)

    with pytest.raises(Late):
        run(Interruptible(careless()))


def test_interruption_before_the_start_keeps_it_from_starting() -> None:
    seen: list[str] = []
    inner = Interruptible(patient(seen))
    inner.interrupt(Late())

    async def main() -> None:
        await inner

    with pytest.raises(Late):
        asyncio.run(main())
    assert seen == []


def test_interruption_after_the_end_does_nothing() -> None:
    async def quick() -> str:
        return "done"

    async def main() -> str:
        inner = Interruptible(quick())
        result: str = await inner
        inner.interrupt(Late())
        await asyncio.sleep(0)
        return result

    assert asyncio.run(main()) == "done"


def test_cancellation_by_others_stays_a_cancellation() -> None:
    seen: list[str] = []

    async def main() -> None:
        async def waits() -> None:
            await Interruptible(patient(seen))

        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert seen == []


def test_signal_handler_raises_by_itself_only_while_the_coroutine_computes() -> None:
    seen: list[str] = []
    inner: Interruptible | None = None

    def ring() -> None:
        assert inner is not None
        seen.append("waits" if inner.interrupt_from_signal(Late()) else "computes")

    async def both() -> str:
        signal.raise_signal(signal.SIGUSR1)
        return await patient(seen)

    inner = Interruptible(both())

    async def main() -> Any:
        return await inner

    resting = inside(selectors.DefaultSelector.select)
    with signalled(ring, lambda: bool(seen) and resting()):
        assert asyncio.run(main()) == "cleaned"
    assert seen == ["computes", "waits", "late"]
