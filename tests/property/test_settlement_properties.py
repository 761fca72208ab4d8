"""Whatever happens in whatever order: no tag is settled twice, none in another epoch, and none is forgotten."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from amqtask.worker.deliveries.delivery import Settlements


class Broker:
    """What RabbitMQ keeps for one channel: the unacknowledged tags."""

    def __init__(self) -> None:
        self.unacked: set[int] = set()
        self.last = 0

    def deliver(self) -> int:
        self.last += 1
        self.unacked.add(self.last)
        return self.last

    def ack(self, tag: int, multiple: bool) -> set[int]:
        assert tag in self.unacked, "unknown delivery tag: a real broker closes the channel"
        acked = {one for one in self.unacked if one <= tag} if multiple else {tag}
        self.unacked -= acked
        return acked

    def nack(self, tag: int) -> None:
        assert tag in self.unacked
        self.unacked.remove(tag)


class SettlementMachine(RuleBasedStateMachine):
    running = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.settlements = Settlements()
        self.epoch = self.settlements.open()
        self.broker = Broker()
        self.finished: set[int] = set()
        self.outstanding: set[int] = set()

    @rule(target=running)
    def deliver(self):
        tag = self.broker.deliver()
        self.settlements.delivered(tag)
        self.outstanding.add(tag)
        return self.epoch, tag

    @rule(delivery=consumes(running))
    def finish(self, delivery):
        epoch, tag = delivery
        current = epoch == self.epoch
        assert self.settlements.finish(epoch, tag) is current
        if current:
            self.finished.add(tag)

    @rule(delivery=consumes(running))
    def give_back(self, delivery):
        epoch, tag = delivery
        current = epoch == self.epoch
        assert self.settlements.give_back(epoch, tag) is current
        if current:
            self.broker.nack(tag)
            self.outstanding.remove(tag)

    @rule(hold=st.integers(0, 5))
    def write_acks(self, hold):
        acked: set[int] = set()
        for ack in self.settlements.acks(hold):
            acked |= self.broker.ack(*ack)
        assert acked <= self.finished, "a message was acked whose task has not finished"
        self.finished -= acked
        self.outstanding -= acked
        assert len(self.finished) <= hold

    @rule()
    def lose_the_channel(self):
        self.epoch = self.settlements.open()
        self.broker = Broker()
        self.finished.clear()
        self.outstanding.clear()

    @invariant()
    def both_sides_agree_on_what_is_unsettled(self):
        assert self.broker.unacked == self.outstanding
        assert len(self.settlements) == len(self.outstanding)
        assert self.settlements.waiting == len(self.finished)

    def teardown(self):
        for ack in self.settlements.acks(0):
            self.finished -= self.broker.ack(*ack)
        assert not self.finished


TestSettlements = SettlementMachine.TestCase
