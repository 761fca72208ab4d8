"""What ``|`` makes of two signatures, as Celery 5 has it. Owns the rules; operands are never changed."""

from __future__ import annotations

from amqtask.canvas.normal import add_errors, add_links, upgraded
from amqtask.canvas.shapes import Shape, body, chain_shape, copied, kind, members, options


def join(left: Shape, right: Shape) -> Shape:
    """The signature that runs ``right`` with what ``left`` returns; new, but for arguments."""
    which = kind(left)
    if which == "group":
        return copied(left) if _is_empty(right) else upgraded(copied(left), copied(right))
    if which == "chord" and _extends_body(right):
        return _with_body(left, join(body(left) or chain_shape([]), _unrolled(right)))
    if which == "chain":
        return _append(left, right)
    return chain_shape([copied(left), *_steps_of(_unrolled(right))])


def fold(steps: list[Shape]) -> Shape:
    """``steps[0] | steps[1] | ...``, in one pass: a chain, or what has become of it."""
    done: list[Shape] = []
    for index, step in enumerate(steps):
        if _is_empty(step):
            continue
        one = _unrolled(step)
        if kind(one) == "group" and not done:
            if index == len(steps) - 1:
                return copied(one)
            result = copied(one)
            for other in steps[index + 1 :]:
                result = _grown(result, other)
            return result
        for part in _steps_of(one):
            _push(done, _unrolled(part))
    return chain_shape(done)


def _push(done: list[Shape], step: Shape) -> None:
    """Add a step to those of a chain, which are its own."""
    if done and _is_empty(step):
        return
    while done and _is_empty(done[-1]):
        done.pop()
    last = done[-1] if done else None
    if last is None:
        done.append(copied(step))
    elif kind(last) == "group" and kind(step) != "group":  # of two groups, the first is the header only once sent
        done[-1] = upgraded(last, copied(step))
    elif kind(last) == "chord" and kind(step) != "chord":
        _extend_body(last, step)
    else:
        done.append(copied(step))


def _append(left: Shape, right: Shape) -> Shape:
    if _is_empty(right):
        return copied(left)
    other = _unrolled(right)
    steps = _steps_of(left)
    if not steps and kind(other) == "group":
        return copied(other)
    _push_all(steps, other)
    return chain_shape(steps, _kept(left))


def _push_all(steps: list[Shape], right: Shape) -> None:
    first, *rest = map(_unrolled, _steps_of(right))
    if steps and _is_empty(steps[-1]) and kind(first) != "group":  # of ``a | group([])``: a chord without members
        steps[-1] = upgraded(steps[-1], first)
    else:
        _push(steps, first)
    for part in rest:
        _push(steps, part)


def _grown(left: Shape, right: Shape) -> Shape:
    """``left | right`` of a signature that is nobody else's: changed where that is enough, for it may be long."""
    which = kind(left)
    if which == "chord" and _extends_body(right):
        _extend_body(left, _unrolled(right))
        return left
    if which == "chain" and _is_plain(left) and not _is_empty(right):
        _push_all(left["kwargs"]["tasks"], _unrolled(right))
        return left
    return join(left, right)


def _extend_body(chord: Shape, step: Shape) -> None:
    """Add a step to the body of a chord, which is its own."""
    chord["kwargs"]["body"] = _grown(body(chord) or chain_shape([]), step)


def _steps_of(sig: Shape) -> list[Shape]:
    """The steps of a chain, its callbacks and errbacks moved to where they act; else the signature."""
    if kind(sig) != "chain":
        return [copied(sig)]
    steps = [copied(step) for step in members(sig)]
    if steps:
        add_links(steps[-1], options(sig).get("link"))
        for step in steps:
            add_errors(step, options(sig).get("link_error"))
        if sig.get("args") and not steps[0].get("immutable"):
            steps[0] = {**steps[0], "args": (*sig["args"], *steps[0]["args"])}
    return steps


def _is_plain(chain: Shape) -> bool:
    """Whether a chain has steps, and nothing that would have to be handed to them."""
    return bool(chain["kwargs"].get("tasks")) and not chain.get("args") and _kept(chain) == options(chain)


def _kept(chain: Shape) -> dict[str, object]:
    return {name: value for name, value in options(chain).items() if name not in ("link", "link_error")}


def _is_empty(sig: Shape) -> bool:
    return kind(sig) == "group" and not members(sig)


def _unrolled(sig: Shape) -> Shape:
    """A group of one is that one."""
    return members(sig)[0] if kind(sig) == "group" and len(members(sig)) == 1 else sig


def _extends_body(right: Shape) -> bool:
    return kind(_unrolled(right)) in ("task", "chord")


def _with_body(chord: Shape, then: Shape) -> Shape:
    new = copied(chord)
    new["kwargs"]["body"] = then
    return new
