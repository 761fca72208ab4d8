"""A chord counted by several workers, under every order of events, crashes and lost channels included."""

from __future__ import annotations

import itertools
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.worker.chords.state import Action, ChordState, Completion, Phase


class Broker:
    """The chord's queue."""

    def __init__(self):
        self.exists = True
        self.ready = []
        self.consumer = None
        self.unacked = {}
        self._tags = itertools.count(1)

    def publish(self, message):
        """False: no such queue."""
        if not self.exists:
            return False
        if self.consumer is None:
            self.ready.append(message)
        else:
            self._deliver(message)
        return True

    def _deliver(self, message):
        tag = next(self._tags)
        self.unacked[tag] = message
        self.consumer.inbox.append(("arrived", tag, message))

    def consume(self, worker):
        if not self.exists:
            return "gone"
        if self.consumer is not None:
            return "refused"
        self.consumer = worker
        taken, self.ready = self.ready, []
        for message in taken:
            self._deliver(message)
        return "joined"

    def give_back(self, worker, acked=()):
        """Cancel the consumer of this worker; what it did not ack is ready again."""
        if self.consumer is worker:
            self.ready += [message for tag, message in self.unacked.items() if tag not in acked]
            self.unacked.clear()
            self.consumer = None

    def delete(self):
        self.exists = False
        self.ready.clear()
        self.unacked.clear()
        self.consumer = None


class Worker:
    """One worker; what it is to do (``todo``) and what it has not read yet (``inbox``) wait for their turn."""

    def __init__(self, world):
        self.world = world
        self.reset()

    def reset(self):
        self.state = ChordState(self.world.size)
        self.members = {}
        self.todo = []
        self.inbox = []
        self.sent = False

    def act(self, action):
        if action is not Action.NOTHING:
            self.todo.append(action)
        for member, ticket in list(self.members.items()):
            if ticket is not None and (self.state.over or ticket <= self.state.settled):
                del self.members[member]
                self.world.acked.add(member)
        if self.state.over:  # the caller forgets it then
            self.state = ChordState(self.world.size)

    def perform(self, action):
        """The broker does what was asked; the answer is read later."""
        broker = self.world.broker
        if action is Action.LOOK:
            self.inbox.append(("looked", len(broker.ready) if broker.exists else None))
        elif action is Action.JOIN:
            at = len(self.inbox)
            answer = broker.consume(self)
            self.inbox.insert(at, ("lost",) if answer == "gone" else (answer,))
        elif action is Action.WAIT:
            self.inbox.append(("waited",))
        elif action is Action.DISPATCH:
            assert not self.sent, "the same worker sends the body twice"
            self.sent = True
            self.world.bodies.append(self.state.results())
            self.inbox.append(("dispatched",))
        elif action is Action.DELETE:
            broker.delete()
            self.inbox.append(("deleted",))
        elif action is Action.RELEASE:
            broker.give_back(self, self.state.duplicates)
            self.inbox = [entry for entry in self.inbox if entry[0] != "arrived"]
            self.inbox.append(("released",))

    def read(self):
        name, *values = self.inbox.pop(0)
        self.act(getattr(self.state, name)(*values))

    def lose_channel(self):
        self.world.broker.give_back(self)
        self.inbox = [entry for entry in self.inbox if entry[0] in ("looked", "waited", "dispatched")]
        self.todo = [action for action in self.todo if action in (Action.LOOK, Action.WAIT, Action.DISPATCH)]
        self.act(self.state.lost())


class World:
    def __init__(self, random, size, workers, troubles, growers):
        self.random, self.size, self.troubles = random, size, troubles
        self.growers = range(min(growers, size))
        """Members that add one more each, before they end."""
        self.added = set()
        self.broker, self.bodies, self.acked = Broker(), [], set()
        self.workers = [Worker(self) for _ in range(workers)]
        self.waiting = list(range(size))
        self.excuses = 0
        """Troubles between the body's confirm and the end of the queue: the only ones that may double the body."""

    def events(self):
        for worker in self.workers:
            if worker.todo:
                yield lambda worker=worker: worker.perform(worker.todo.pop(0))
            if worker.inbox:
                yield worker.read
            if worker.state.phase is Phase.COLLECTING and (not worker.inbox or self.random.random() < 0.05):
                yield lambda worker=worker: worker.act(worker.state.quiet())
            for member, ticket in worker.members.items():
                if ticket is None:
                    yield lambda worker=worker, member=member: self.complete(worker, member)
            if self.waiting:
                yield lambda worker=worker: self.take(worker)

    def take(self, worker):
        member = self.waiting.pop(self.random.randrange(len(self.waiting)))
        worker.members[member] = None

    def complete(self, worker, member):
        if member in self.growers:
            self.broker.publish(Completion(f"more{member}", more=1))
            if member not in self.added or self.random.random() < 0.5:  # its message is sent again, too
                self.added.add(member)
                self.waiting.append(self.size + member)
        routed = True
        for _ in range(self.random.choice((1, 1, 1, 2))):  # a publisher that reconnects publishes again
            routed = self.broker.publish(Completion(f"m{member}", member, f"r{member}".encode()))
        if not routed:
            del worker.members[member]
            self.acked.add(member)
            return
        worker.members[member], action = worker.state.want()
        worker.act(action)

    def trouble(self):
        self.troubles -= 1
        worker = self.random.choice(self.workers)
        if worker.state.phase in (Phase.DISPATCHING, Phase.DELETING, Phase.ORPHANED):
            self.excuses += 1
        if self.random.random() < 0.5:
            worker.lose_channel()
            return
        self.broker.give_back(worker)
        self.waiting += worker.members
        if self.random.random() < 0.3 and self.acked:
            self.waiting.append(self.random.choice(sorted(self.acked)))  # its ack was lost
        worker.reset()

    def run(self):
        for _ in range(20_000):
            events = list(self.events())
            if not events:
                return
            if self.troubles and self.random.random() < 0.05:
                self.trouble()
            else:
                self.random.choice(events)()
        raise AssertionError("does not come to an end")


@settings(max_examples=400)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 6),
    workers=st.integers(1, 4),
    troubles=st.integers(0, 4),
    growers=st.integers(0, 3),
)
def test_body_is_sent_once_with_every_member_whatever_happens_in_between(seed, size, workers, troubles, growers):
    world = World(Random(seed), size, workers, troubles, growers)
    world.run()
    members = [*range(size), *(size + member for member in world.growers)]
    assert world.acked == set(members)
    assert not world.broker.exists
    assert world.bodies
    for body in world.bodies:
        assert body == [f"r{member}".encode() for member in members]
    assert len(world.bodies) <= 1 + world.excuses
