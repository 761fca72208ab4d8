"""Random pieces of work, run through plans and followups, come to what a direct evaluation says."""

from __future__ import annotations

import random

import pytest
from canvas_draw import Draw
from canvas_trees import Chain, Chord, Evaluation, Group, Register, build, failed
from canvas_world import World

TREES = 1_000
PER_TEST = 100
LONG_CHAINS = 120


def check(seed, *, failures, trouble):
    rng = random.Random(seed)
    compare(rng, Draw(rng, failures).tree(rng.randint(1, 4)), trouble)


def compare(rng, tree, trouble, park_after=None):
    register = Register()
    sig = build(tree, register)
    becomes = {name: build(t.becomes, Register()) for name, t in register.tasks.items() if t.becomes is not None}
    expected = Evaluation(tree)
    world = World(rng, register, becomes, trouble=trouble, native_chords=rng.random() < 0.5, park_after=park_after)
    value = world.run(sig)
    if not any(task.fails for task in register.tasks.values()):  # that of a chain that has failed stays for a replay
        assert world.parked == {}, "whoever sends the last steps sees to it that the queue goes"
    if failed(expected.value):
        assert failed(value), tree
    else:
        assert value == expected.value, tree
    assert world.ran == expected.ran, tree
    assert world.errbacks == expected.errbacks, tree


@pytest.mark.parametrize("start", range(0, TREES, PER_TEST))
def test_random_work_comes_to_what_a_direct_evaluation_says(start):
    for seed in range(start, start + PER_TEST):
        check(seed, failures=0.0, trouble=0.0)


@pytest.mark.parametrize("start", range(0, TREES, PER_TEST))
def test_failures_end_what_depends_on_them_and_nothing_else(start):
    for seed in range(start, start + PER_TEST):
        check(seed, failures=0.1, trouble=0.0)


@pytest.mark.parametrize("start", range(0, TREES, PER_TEST))
def test_duplicates_retries_and_crashes_change_nothing(start):
    for seed in range(start, start + PER_TEST):
        check(seed, failures=0.05, trouble=0.15)


@pytest.mark.parametrize("start", range(0, LONG_CHAINS, LONG_CHAINS // 4))
def test_long_chains_come_to_the_same(start):
    for seed in range(start, start + LONG_CHAINS // 4):
        rng = random.Random(seed)
        draw = Draw(rng, 0.02)
        steps = [draw.part(rng.choice([0, 0, 0, 1, 2])) for _ in range(rng.randint(2, 60))]
        tree = rng.choice(
            [
                Chain(steps),
                Group([draw.task(0), Chain(steps)]),
                Chord([Chain(steps), draw.task(0)], draw.task(0)),
                Chord([draw.task(0), draw.task(0)], Chain(steps)),
                Chain([Group([draw.task(0), draw.task(0)]), *steps], "call"),
            ]
        )
        compare(rng, tree, 0.05, park_after=rng.choice([0, 12, 30]))


@pytest.mark.parametrize("failures", [0.0, 0.05])
def test_the_end_of_a_long_chain_may_become_one_itself(failures):
    for seed in range(3):
        draw = Draw(random.Random(seed), failures)
        last = draw.task(0)
        last.fails, last.becomes = False, Chain([draw.task(0) for _ in range(30)], "lazy")
        compare(draw.rng, Chain([*(draw.task(0) for _ in range(30)), last]), 0.05, park_after=12)
