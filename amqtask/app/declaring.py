"""SharedDeclares: what coroutines need at the same time is declared once. Owns the declarations under way.

A thousand coroutines that send to a queue which is not made yet would declare it one after the other, and most of them
would run out of time meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task

    from amqtask.app.needs import Need, Needs
    from amqtask.broker.interface import Transport


class SharedDeclares:
    """Declares for coroutines. Thread-safe: those of one loop share what one of them has begun.

    Args:
        needs: what messages need on the broker.
    """

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._under_way: dict[tuple[AbstractEventLoop, Transport, Need], Task[None]] = {}

    async def declare(self, transport: Transport, need: Need) -> None:
        """Declare what is needed, or wait until another coroutine's declaration of the same is done.

        Raises:
            AmqtaskError: as :meth:`amqtask.broker.interface.Transport.adeclare`.
        """
        from asyncio import get_running_loop, shield  # noqa: PLC0415 -- whoever awaits this has loaded it

        loop = get_running_loop()
        key = (loop, transport, need)
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = loop.create_task(transport.adeclare(self._needs.layout(need)))
            task.add_done_callback(lambda _: self._done(key))
        await shield(task)  # whoever is cancelled leaves it to the others

    def _done(self, key: tuple[AbstractEventLoop, Transport, Need]) -> None:
        task = self._under_way.pop(key)
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it
