"""Pieces of work drawn at random, the same for the same seed."""

from __future__ import annotations

from canvas_trees import Chain, Chord, Errback, Group, Task, ends_in_group


class Draw:
    """Random trees.

    Args:
        rng: of random.
        failures: share of tasks that fail.
        prefix: of the names of all tasks.
    """

    def __init__(self, rng, failures, prefix=""):
        self.rng, self.failures, self.prefix, self.count = rng, failures, prefix, 0

    def often(self, share):
        return self.rng.random() < share

    def tree(self, depth=3):
        return self.rng.choice([self.task, self.chain, self.group, self.chord])(depth - 1)

    def part(self, depth):
        kinds = [self.task, self.task, self.chain, self.group, self.chord] if depth > 0 else [self.task]
        return self.rng.choice(kinds)(depth - 1)

    def task(self, depth):
        self.count += 1
        task = Task(f"{self.prefix}t{self.count}", (self.count,) if self.often(0.5) else (), self.often(0.2))
        task.fails = self.often(self.failures)
        if self.often(0.3):
            task.errbacks = [self.errback()]
        if depth > 0 and self.often(0.15):
            task.links = [self.link(depth - 1) for _ in range(self.rng.randint(1, 3))]
        if depth > 0 and not task.fails and self.often(0.15):
            task.becomes = self.part(depth - 1)
        return task

    def link(self, depth):
        return self.rng.choice([self.task, self.chain, self.group])(depth)

    def errback(self):
        by = self.rng.choice(["name", "name", "chain", "group", "chord"])
        self.count += 1
        names = [f"{self.prefix}err{self.count}"]
        if by != "name":
            self.count += 1
            names.append(f"{self.prefix}err{self.count}")
        return Errback(names, by)

    def linked(self, work, depth):
        """With callbacks and errbacks of its own.

        A callback of a group would be its first member's, immutable. The errbacks of what ends in a group are its
        members', who never hear of what fails before, once the group is the header of something else.
        """
        if self.often(0.2) and (isinstance(work, Group) or not ends_in_group(work)):
            work.errbacks = [self.errback()]
        if depth > 0 and self.often(0.15) and not ends_in_group(work):
            work.links = [self.link(depth - 1)]
        return work

    def chain(self, depth):
        by = self.rng.choice(["call", "or", "lazy"])
        steps = [self.part(depth) for _ in range(self.rng.randint(1, 4))]
        self.ones(steps, by)
        # what `|` adds takes one at the end for its header; so it is in chain(), too, behind a group in front
        if (by == "lazy" or (by == "call" and not ends_in_group(steps[0]))) and self.often(0.2):
            steps.insert(self.rng.randint(0, len(steps) - (by == "lazy")), Group([]))
        return self.linked(Chain(steps, by), depth)

    def ones(self, steps, by):
        """Make groups of one of some steps; but not where they are no single task, as Celery has it."""
        for place in range(by == "or", len(steps) - (by == "lazy")):
            behind_group = place and ends_in_group(steps[place - 1])
            if isinstance(steps[place], Task) and not behind_group and self.often(0.2):
                steps[place] = Group([steps[place]])

    def group(self, depth):
        return self.linked(Group(self.members(depth, self.rng.randint(2, 4))), depth)

    def chord(self, depth):
        body = Group([self.task(depth)]) if self.often(0.1) else self.part(depth)
        return self.linked(Chord(self.members(depth, self.rng.choice([0, 1, 2, 3])), body), depth)

    def members(self, depth, count):
        """Some of them groups of one, or of none."""
        members = [Group([self.task(depth)]) if self.often(0.05) else self.part(depth) for _ in range(count)]
        return [*members, Group([])] if self.often(0.1) else members
