"""Whatever the load: the bounds hold, busy slots stay, and a load that keeps still gets slots that keep still."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.worker.autoscaling import Autoscaler, Load

BOUNDS = st.tuples(st.integers(1, 60), st.integers(1, 60)).map(lambda pair: (max(pair), min(pair)))
LOOKS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 500), st.integers(0, 10_000), st.floats(0.0001, 120)), max_size=60
)


@given(BOUNDS, LOOKS)
@settings(max_examples=150)
def test_bounds_hold_and_busy_slots_stay(bounds: tuple[int, int], looks: list[tuple[int, int, int, float]]):
    most, fewest = bounds
    scaler, slots, arrived = Autoscaler(most, fewest), fewest, 0
    for second, (busy, new, backlog, runtime) in enumerate(looks):
        arrived += new
        scaler.ended(runtime)
        working = min(busy, slots)
        queued = backlog if second % 3 else None
        slots += scaler.change(Load(float(second), slots, working, arrived, new, queued))
        assert fewest <= slots <= most
        assert slots >= working


@given(st.floats(0.5, 40), st.floats(0.01, 3))
@settings(max_examples=60)
def test_a_steady_load_gets_enough_slots_soon_and_then_the_same(rate: float, runtime: float):
    """Simulated: tasks come at this rate and take so long; slots work through them for four minutes.

    Queues are looked at every five seconds while all slots are busy, as the worker does.
    """
    scaler, slots, backlog, taken = Autoscaler(500, 1), 1, 0.0, 0.0
    sizes = []
    for second in range(240):
        backlog += rate
        done = min(backlog, slots / runtime)
        backlog -= done
        taken += done
        busy = min(slots, -int(-done * runtime // 1))
        scaler.ended(runtime)
        queued = 0 if busy < slots else int(backlog) if second % 5 == 1 else None
        slots += scaler.change(Load(float(second), slots, busy, int(taken), 0, queued))
        sizes.append(slots)
    assert max(sizes[:12]) >= rate * runtime * 0.99
    assert slots >= rate * runtime * 0.99
    assert backlog <= rate + 1
    assert max(sizes[-60:]) - min(sizes[-60:]) <= 2 + 0.3 * rate * runtime
