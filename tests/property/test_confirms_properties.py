"""The ledger never loses or duplicates an item, whatever order the broker answers in."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from amqtask.broker.confirms import ConfirmLedger


class Confirms(RuleBasedStateMachine):
    """Compares the ledger with a plain dictionary of what is open."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger: ConfirmLedger[int] = ConfirmLedger()
        self.open: dict[int, int] = {}  # tag -> item, of this channel
        self.returned: set[int] = set()
        self.published = 0
        self.finished: list[int] = []

    @rule(count=st.integers(1, 5))
    def publish(self, count: int) -> None:
        for _ in range(count):
            self.published += 1
            tag = self.ledger.published(self.published)
            assert tag not in self.open
            self.open[tag] = self.published

    @rule(tag=st.integers(0, 40), multiple=st.booleans(), positive=st.booleans())
    def confirm(self, tag: int, multiple: bool, positive: bool) -> None:
        answer = (self.ledger.on_ack if positive else self.ledger.on_nack)(tag, multiple)
        if multiple:
            expected = [item for number, item in self.open.items() if number <= tag or tag == 0]
        else:
            expected = [self.open[tag]] if tag in self.open else []
        assert [item for item, _ in answer] == expected
        assert {item for item, reason in answer if reason} == set(expected) & self.returned
        self.leave(expected)

    @rule(pick=st.integers(0, 10))
    def come_back(self, pick: int) -> None:
        wanted = [item for item in self.open.values() if item % 11 == pick]
        marked = self.ledger.on_return(lambda item: item % 11 == pick, "NO_ROUTE")
        fresh = [item for item in wanted if item not in self.returned]
        assert marked == bool(fresh)
        self.returned.update(fresh[:1])

    @rule(pick=st.integers(0, 6))
    def forget(self, pick: int) -> None:
        forgotten = self.ledger.forget(lambda item: item % 7 == pick)
        assert forgotten == [item for item in self.open.values() if item % 7 == pick]
        self.leave(forgotten)

    @rule()
    def lose_channel(self) -> None:
        drained = self.ledger.drain()
        assert [item for item, _ in drained] == list(self.open.values())
        assert {item for item, reason in drained if reason} == set(self.open.values()) & self.returned
        self.leave([item for item, _ in drained])

    def leave(self, items: list[int]) -> None:
        self.finished += items
        self.open = {tag: item for tag, item in self.open.items() if item not in items}

    @invariant()
    def every_item_is_in_exactly_one_place(self) -> None:
        assert self.ledger.items() == list(self.open.values())
        assert len(self.ledger) == len(self.open)
        assert sorted([*self.finished, *self.open.values()]) == list(range(1, self.published + 1))


TestConfirms = Confirms.TestCase
TestConfirms.settings = settings(max_examples=150, stateful_step_count=40)
