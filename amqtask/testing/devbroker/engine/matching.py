"""How the kinds of exchanges match: direct, fanout, topic and headers.

Each matcher holds bindings in the shape in which it finds them fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from amqtask.testing.devbroker.engine import headers
from amqtask.testing.devbroker.engine.errors import precondition_failed
from amqtask.testing.devbroker.engine.notation import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from amqtask.testing.devbroker.engine.message import Message


class Bound(Protocol):
    """What a matcher reads of a binding."""

    @property
    def destination(self) -> Any:
        """Where it leads."""

    @property
    def routing_key(self) -> str:
        """Key or pattern."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What a headers exchange compares."""


class Matcher(Protocol):
    """The bindings of one exchange."""

    def add(self, binding: Any) -> None:
        """Take in a binding."""

    def remove(self, binding: Any) -> None:
        """Take out a binding that was added."""

    def match(self, message: Message, routing_key: str) -> Iterable[Any]:
        """The destinations, perhaps some twice."""


class Fanout:
    """Every binding matches."""

    def __init__(self) -> None:
        self._bindings: dict[Bound, None] = {}

    def add(self, binding: Bound) -> None:
        """Take in a binding."""
        self._bindings[binding] = None

    def remove(self, binding: Bound) -> None:
        """Take out a binding."""
        del self._bindings[binding]

    def match(self, _message: Message, _routing_key: str) -> Iterable[Any]:
        """All destinations."""
        return [binding.destination for binding in self._bindings]


class Direct:
    """A binding matches the key that is its own."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[Bound, None]] = {}

    def add(self, binding: Bound) -> None:
        """Take in a binding."""
        self._keys.setdefault(binding.routing_key, {})[binding] = None

    def remove(self, binding: Bound) -> None:
        """Take out a binding."""
        same = self._keys[binding.routing_key]
        del same[binding]
        if not same:
            del self._keys[binding.routing_key]

    def match(self, _message: Message, routing_key: str) -> Iterable[Any]:
        """The destinations bound by this key."""
        return [binding.destination for binding in self._keys.get(routing_key, ())]


class _Node:
    """A word on the way through a topic pattern, and the bindings whose pattern ends here."""

    __slots__ = ("bindings", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node] = {}
        self.bindings: dict[Bound, None] = {}


class Topic:
    """Patterns of words: ``*`` stands for one word, ``#`` for any number of them, also none."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, binding: Bound) -> None:
        """Take in a binding."""
        node = self._root
        for word in _words(binding.routing_key):
            node = node.words.setdefault(word, _Node())
        node.bindings[binding] = None

    def remove(self, binding: Bound) -> None:
        """Take out a binding."""
        node, way = self._root, []
        for word in _words(binding.routing_key):
            way.append((node, word))
            node = node.words[word]
        del node.bindings[binding]
        for parent, word in reversed(way):
            child = parent.words[word]
            if child.words or child.bindings:
                break
            del parent.words[word]

    def match(self, _message: Message, routing_key: str) -> Iterable[Any]:
        """The destinations whose pattern matches."""
        words = _words(routing_key)
        end = len(words)
        found: dict[Bound, None] = {}
        reached: dict[_Node, int] = {}  # for each '#', the first word it stood before
        todo = [(self._root, 0)]
        while todo:
            node, at = todo.pop()
            further = node.words
            rest = further.get("#")
            if rest is not None:
                found.update(rest.bindings)
                if rest.words:
                    # It was entered before from some word on; from there on everything is known.
                    known = reached.get(rest, end + 1)
                    reached[rest] = min(at, known)
                    todo.extend((rest, later) for later in range(at, known))
            if at == end:
                found.update(node.bindings)
                continue
            word = words[at]
            if word in further and word != "#":
                todo.append((further[word], at + 1))
            if word != "*" and "*" in further:
                todo.append((further["*"], at + 1))
        return [binding.destination for binding in found]


class Headers:
    """A binding's arguments are compared with the headers, as its ``x-match`` says."""

    def __init__(self) -> None:
        self._bindings: dict[Bound, None] = {}

    def add(self, binding: Bound) -> None:
        """Take in a binding.

        Raises:
            ChannelFault: 406, x-match has no such value.
        """
        mode = binding.arguments.get("x-match", "all")
        if not isinstance(mode, str):
            raise precondition_failed(f"Invalid x-match field type {type_name(mode)} (value {mode}); expected longstr")
        if mode not in _MODES:
            raise precondition_failed(
                f'Invalid x-match field value <<"{mode}">>; expected all, any, all-with-x, or any-with-x'
            )
        self._bindings[binding] = None

    def remove(self, binding: Bound) -> None:
        """Take out a binding."""
        del self._bindings[binding]

    def match(self, message: Message, _routing_key: str) -> Iterable[Any]:
        """The destinations whose arguments match."""
        try:
            found = headers.table(message.header)
        except headers.Malformed:
            found = _NO_HEADERS
        return [binding.destination for binding in self._bindings if _matches(binding.arguments, found)]


_MODES: dict[str, Callable[[Iterable[bool]], bool]] = {
    "all": all,
    "any": any,
    "all-with-x": all,
    "any-with-x": any,
}
MATCHERS: dict[str, Callable[[], Matcher]] = {
    "direct": Direct,
    "fanout": Fanout,
    "topic": Topic,
    "headers": Headers,
}


def _words(key: str) -> list[str]:
    # The empty key has no words at all, so that '#' matches it and '*' does not.
    return key.split(".") if key else []


def _matches(arguments: dict[str, Any], found: Mapping[str, object]) -> bool:
    mode = arguments.get("x-match", "all")
    return _MODES[mode](_compared(arguments, found, with_x=mode.endswith("-with-x")))


def _compared(arguments: dict[str, Any], found: Mapping[str, object], *, with_x: bool) -> Iterator[bool]:
    for name, wanted in arguments.items():
        if name == "x-match" or (name.startswith("x-") and not with_x):
            continue
        value = found.get(name, _ABSENT)
        # Python takes True and 1.0 for 1, AMQP does not; no value at all (void) asks for presence only.
        yield value is not _ABSENT and (wanted is None or (type(value) is type(wanted) and value == wanted))


_ABSENT = object()
_NO_HEADERS: Mapping[str, object] = {}
