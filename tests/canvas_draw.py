"""Pieces of work drawn at random, the same for the same seed."""

from __future__ import annotations

from canvas_trees import Chain, Chord, Group, Task


class Draw:
    """Random trees.

    Args:
        rng: of random.
        failures: share of tasks that fail.
        prefix: of the names of all tasks.
    """

    def __init__(self, rng, failures, prefix=""):
        self.rng, self.failures, self.prefix, self.count = rng, failures, prefix, 0

    def tree(self, depth=3):
        return self.rng.choice([self.task, self.chain, self.group, self.chord])(depth - 1)

    def part(self, depth):
        kinds = [self.task, self.task, self.chain, self.group, self.chord] if depth > 0 else [self.task]
        return self.rng.choice(kinds)(depth - 1)

    def task(self, depth):
        self.count += 1
        rng, number = self.rng, self.count
        task = Task(f"{self.prefix}t{number}", (number,) if rng.random() < 0.5 else (), rng.random() < 0.2)
        task.fails = rng.random() < self.failures
        if rng.random() < 0.3:
            task.errback = f"{self.prefix}err{number}"
        if depth > 0 and rng.random() < 0.15:
            task.links = [self.link(depth - 1) for _ in range(rng.randint(1, 3))]
        if depth > 0 and not task.fails and rng.random() < 0.15:
            task.becomes = self.part(depth - 1)
        return task

    def link(self, depth):
        return self.rng.choice([self.task, self.chain, self.group])(depth)

    def chain(self, depth):
        steps = [self.part(depth) for _ in range(self.rng.randint(1, 4))]
        by = self.rng.choice(["call", "or", "lazy"])
        if by != "or" and self.rng.random() < 0.2:
            steps.insert(self.rng.randint(0, len(steps)), Group([]))
        return Chain(steps, by)

    def group(self, depth):
        return Group([self.part(depth) for _ in range(self.rng.randint(2, 4))])

    def chord(self, depth):
        header = [self.part(depth) for _ in range(self.rng.choice([0, 1, 2, 3]))]
        return Chord(header, self.part(depth))
