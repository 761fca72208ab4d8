"""The text of ``--autoscale`` and ``worker_autoscale``. Owns its grammar."""

from __future__ import annotations

from amqtask.errors import ConfigError


def read_bounds(text: str) -> tuple[int, int]:
    """Most and fewest slots of ``MAX,MIN``; in any order, and a single number is the most.

    Raises:
        ConfigError: it is something else.
    """
    try:
        numbers = sorted(int(part) for part in text.split(","))
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2 or numbers[0] < 0 or numbers[-1] < 1:  # noqa: PLR2004 -- a pair
        raise ConfigError(f"worker_autoscale {text!r}: write MAX,MIN, for example 10,3")
    return numbers[-1], max(1, numbers[0]) if len(numbers) > 1 else 1
