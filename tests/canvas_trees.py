"""Pieces of work as plain trees: drawn at random, built into signatures, and evaluated directly.

The evaluation is the specification: it knows of no messages, ids, chords or counting.
"""

from __future__ import annotations

from copy import deepcopy
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
class Errback:
    """Of one task, called ``by`` its name; or a chain, group or chord of some."""

    names: list[str]
    by: str = "name"


@dataclass
class Linked:
    """What any piece of work may have."""

    links: list[Any] = field(default_factory=list, kw_only=True)
    errbacks: list[Errback] = field(default_factory=list, kw_only=True)


@dataclass
class Task(Linked):
    name: str
    args: tuple[Any, ...] = ()
    immutable: bool = False
    fails: bool = False
    becomes: Any = None


@dataclass
class Chain(Linked):
    steps: list[Any]
    by: str = "call"


@dataclass
class Group(Linked):
    tasks: list[Any]


@dataclass
class Chord(Linked):
    header: list[Any]
    body: Any


class Register:
    """What tasks of a tree do when they run, by name; and the names of errbacks."""

    def __init__(self):
        self.tasks: dict[str, Task] = {}
        self.errbacks: set[str] = set()


def build(tree, register: Register) -> Signature:
    sig = build_alone(tree, register)
    for link in tree.links:
        sig.link(build(link, register))
    for errback in tree.errbacks:
        register.errbacks.update(errback.names)
        sig.link_error(build_errback(errback))
    return sig


def build_errback(errback: Errback) -> Signature:
    first, *rest = (Signature(name) for name in errback.names)
    made = {"chain": chain, "group": group, "chord": lambda first, *rest: chord([first], *rest)}
    return made.get(errback.by, lambda only: only)(first, *rest)


def build_alone(tree, register: Register) -> Signature:
    if isinstance(tree, Task):
        register.tasks[tree.name] = tree
        if tree.becomes is not None:
            build(tree.becomes, register)
        return Signature(tree.name, tree.args, immutable=tree.immutable)
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
        self.value = self.evaluate(spread(deepcopy(tree)), NOTHING)

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
            return self.then(self.group(Group(first.header), given), body_and(first.body, rest))
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
            value = self.evaluate(spread(deepcopy(task.becomes)), NOTHING)
        else:
            value = compute(task.name, args)
        if failed(value):
            self.errbacks |= set(names_of(task.errbacks))
            return FAILED
        for link in task.links:
            self.evaluate(spread(deepcopy(link)), value)
        return value


def flat_steps(steps):
    for step in steps:
        if isinstance(step, Chain):
            yield from flat_steps(step.steps)
        else:
            yield step


def real_steps(steps):
    """Without empty groups, unless there is nothing else; a group of one is that one."""
    flat = [step.tasks[0] if isinstance(step, Group) and len(step.tasks) == 1 else step for step in flat_steps(steps)]
    return [step for step in flat if not (isinstance(step, Group) and not step.tasks)] or flat[:1]


def body_and(body, rest):
    """The body of a chord, and what follows it; a body that is a group of one is a group all the same."""
    return Chord(body.tasks, Chain(rest)) if isinstance(body, Group) else Chain([body, *rest])


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


def spread(tree):
    """The same work with all links and errbacks at tasks: those that end it, or may."""
    inner = {Chain: lambda: tree.steps, Group: lambda: tree.tasks, Chord: lambda: [*tree.header, tree.body]}
    for part in inner.get(type(tree), list)():
        spread(part)
    if not isinstance(tree, Task):
        for link in tree.links:
            add_link(tree, link)
        for errback in tree.errbacks:
            add_errback(tree, errback)
    return tree


def add_link(tree, link):
    if isinstance(tree, Task):
        tree.links.append(link)
    else:
        add_link(tree.body if isinstance(tree, Chord) else real_steps(tree.steps)[-1], link)


def add_errback(tree, errback):
    if isinstance(tree, Task):
        tree.errbacks.append(errback)
    elif isinstance(tree, Chord):
        add_errback(tree.body, errback)
    else:
        for part in flat_members(tree) if isinstance(tree, Group) else real_steps(tree.steps):
            add_errback(part, errback)


def names_of(errbacks) -> list[str]:
    return [name for errback in errbacks for name in errback.names]


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
        return names_of(tree.errbacks)
    if isinstance(tree, Group):
        return [name for task in flat_members(tree) for name in first_errbacks(task)]
    if isinstance(tree, Chord):  # those of its own are with its body
        return [*first_errbacks(Group(tree.header)), *first_errbacks(tree.body)]
    first, *rest = real_steps(tree.steps)
    if not rest or not ends_in_group(first):
        return first_errbacks(first)
    if isinstance(first, Group):
        return first_errbacks(Chord(first.tasks, Chain(rest)))
    return first_errbacks(Chord(first.header, body_and(first.body, rest)))
