"""Coroutines that wait until it is their turn to publish."""

from __future__ import annotations

import asyncio

import pytest

from amqtask.broker.aio_turns import Turns


def hold_up(seconds: float) -> None:
    """Have the running loop find that it was busy for so long."""
    loop = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds


async def move(turns: Turns) -> None:
    """Have messages confirmed for ten times as long as the waits here have patience."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.1
    while loop.time() < end:
        await asyncio.sleep(0)
        turns.moved()


def test_whoever_waits_for_its_turn_is_not_late_while_others_have_theirs_and_keeps_its_place():
    async def main() -> list[str]:
        turns, order = Turns(1), []

        async def send(name: str, patience: float) -> None:
            async with turns.turn(patience):
                order.append(name)

        async with turns.turn(1):
            waiting = [asyncio.ensure_future(send("first", 0.01)), asyncio.ensure_future(send("second", 1000))]
            await move(turns)
            assert order == []
        await asyncio.gather(*waiting)
        return order

    assert asyncio.run(main()) == ["first", "second"]


def test_the_time_in_which_the_loop_is_busy_is_nobodys():
    async def main() -> None:
        turns = Turns(1)

        async def send() -> None:
            async with turns.turn(50), asyncio.timeout(50):
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        async def begin_many_more() -> None:
            hold_up(60)

        await asyncio.gather(send(), send(), begin_many_more())

    asyncio.run(main())


def test_whoever_waits_while_nothing_moves_gives_up_and_takes_no_turn_away():
    async def main() -> None:
        turns = Turns(1)
        async with turns.turn(1):
            with pytest.raises(TimeoutError):
                async with turns.turn(0.01):
                    pytest.fail("there was one at a time")
        async with turns.turn(1):
            pass

    asyncio.run(main())
