"""Pieces of work as plain trees: drawn at random, built into signatures, and evaluated directly.

The evaluation is the specification: it knows of no messages, ids, chords or counting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from amqtask.canvas.chain import chain
from amqtask.canvas.chord import chord
from amqtask.canvas.group import group
from amqtask.canvas.signature import Signature

NOTHING = object()
"""The input of what comes first."""


class Failure:
    def __eq__(self, other):
        return isinstance(other, Failure)

    def __hash__(self):
        return 1

    def __repr__(self):
        return "FAILED"


FAILED = Failure()


def compute(name: str, args: Any) -> Any:
    """What a task returns: a text that tells its arguments, all that they were made of included."""
    return name + ":" + sha256(repr([name, plain(args)]).encode()).hexdigest()[:8]


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass
class Task:
    name: str
    args: tuple[Any, ...] = ()
    immutable: bool = False
    fails: bool = False
    links: list[Any] = field(default_factory=list)
    errback: str | None = None
    becomes: Any = None


@dataclass
class Chain:
    steps: list[Any]
    by: str = "call"


@dataclass
class Group:
    tasks: list[Any]


@dataclass
class Chord:
    header: list[Any]
    body: Any


class Register:
    """What tasks of a tree do when they run, by name."""

    def __init__(self):
        self.tasks: dict[str, Task] = {}


def build(tree, register: Register) -> Signature:
    if isinstance(tree, Task):
        register.tasks[tree.name] = tree
        sig = Signature(tree.name, tree.args, immutable=tree.immutable)
        for link in tree.links:
            sig.link(build(link, register))
        if tree.errback:
            sig.link_error(Signature(tree.errback))
        if tree.becomes is not None:
            build(tree.becomes, register)
        return sig
    if isinstance(tree, Chain):
        steps = [build(step, register) for step in tree.steps]
        if tree.by == "call":
            return chain(*steps)
        if tree.by == "lazy":
            return Signature.from_dict({**chain(), "kwargs": {"tasks": steps}})
        result = steps[0]
        for step in steps[1:]:
            result |= step
        return result
    if isinstance(tree, Group):
        return group([build(task, register) for task in tree.tasks])
    return chord([build(task, register) for task in tree.header], build(tree.body, register))


class Evaluation:
    """The outcome of a tree.

    Attributes:
        value: nested lists of what tasks returned, with FAILED in the place of what failed.
        ran: (name, arguments) of every task that ran.
        errbacks: names of those that were called.
    """

    def __init__(self, tree):
        self.ran: set[tuple[str, str]] = set()
        self.errbacks: set[str] = set()
        self.value = self.evaluate(tree, NOTHING)

    def evaluate(self, tree, given):
        if isinstance(tree, Task):
            return self.task(tree, given)
        if isinstance(tree, Group):
            return self.group(tree, given)
        if isinstance(tree, Chord):
            return self.then(self.group(Group(tree.header), given), tree.body)
        return self.chain(tree.steps, given)

    def then(self, results, body):
        if not failed(results):
            return self.evaluate(body, results)
        self.errbacks |= set(first_errbacks(body))
        return FAILED

    def chain(self, steps, given):
        first, *rest = real_steps(steps)
        if not rest:
            return self.evaluate(first, given)
        if isinstance(first, Chord) and ends_in_group(first):
            return self.then(self.group(Group(first.header), given), Chain([first.body, *rest]))
        value = self.evaluate(first, given)
        if isinstance(first, Group):
            return self.then(value, Chain(rest))
        return FAILED if failed(value) else self.chain(rest, value)

    def group(self, tree, given):
        return [self.evaluate(task, given) for task in flat_members(tree)]

    def task(self, task, given):
        args = list(task.args) if task.immutable or given is NOTHING else [given, *task.args]
        self.ran.add((task.name, repr(plain(args))))
        if task.fails:
            value = FAILED
        elif task.becomes is not None:
            value = self.evaluate(task.becomes, NOTHING)
        else:
            value = compute(task.name, args)
        if failed(value):
            if task.errback:
                self.errbacks.add(task.errback)
            return FAILED
        for link in task.links:
            self.evaluate(link, value)
        return value


def flat_steps(steps):
    for step in steps:
        if isinstance(step, Chain):
            yield from flat_steps(step.steps)
        else:
            yield step


def real_steps(steps):
    """Without empty groups, unless there is nothing else."""
    flat = list(flat_steps(steps))
    return [step for step in flat if not (isinstance(step, Group) and not step.tasks)] or flat[:1]


def flat_members(tree):
    """Members, those of inner groups in their place; a chain of one is that one."""
    for task in tree.tasks:
        inner = task
        while isinstance(inner, Chain) and len(real_steps(inner.steps)) == 1:
            inner = real_steps(inner.steps)[0]
        if isinstance(inner, Group):
            yield from flat_members(inner)
        else:
            yield inner


def failed(value) -> bool:
    return any(map(failed, value)) if isinstance(value, list) else value is FAILED


def ends_in_group(tree) -> bool:
    if isinstance(tree, Chain):
        return ends_in_group(real_steps(tree.steps)[-1])
    if isinstance(tree, Chord):
        return ends_in_group(tree.body)
    return isinstance(tree, Group)


def first_errbacks(tree):
    """Those of what would have run first, had not the header before it failed."""
    if isinstance(tree, Task):
        return [tree.errback] if tree.errback else []
    if isinstance(tree, Group):
        return [name for task in flat_members(tree) for name in first_errbacks(task)]
    if isinstance(tree, Chord):
        return first_errbacks(tree.body)
    first, *rest = real_steps(tree.steps)
    if not rest or not ends_in_group(first):
        return first_errbacks(first)
    return first_errbacks(Chain(rest if isinstance(first, Group) else [first.body, *rest]))
