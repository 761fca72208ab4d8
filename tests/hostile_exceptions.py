"""Exceptions that break who handles them: at least thirty classes, each in a way of its own."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any


class NeedsTwo(Exception):
    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right}")
        self.left, self.right = left, right


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


class NoSuperCall(Exception):
    def __init__(self, value: object) -> None:
        self.value = value


class TakesNothing(Exception):
    def __init__(self) -> None:
        super().__init__("text from nowhere")


class RaisingInit(Exception):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        if args and args[0] == "again":
            raise RuntimeError("not twice")


class RaisingStr(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class RaisingRepr(Exception):
    def __repr__(self) -> str:
        raise ValueError("no repr")


class ExitingStr(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class StrOfWrongType(Exception):
    def __str__(self) -> Any:
        return 5  # noqa: PLE0307 -- the point


class HugeStr(Exception):
    def __str__(self) -> str:
        return "x" * 5_000_000


class RecursiveStr(Exception):
    def __str__(self) -> str:
        return str(self)


class RaisingReduce(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


class ReduceRunsCode(Exception):
    def __reduce__(self) -> Any:
        return exit, (9,)


class LyingClass(Exception):
    @property
    def __class__(self) -> Any:
        return int

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise TypeError


class RaisingClass(Exception):
    @property
    def __class__(self) -> Any:
        raise ValueError("no class")

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise TypeError


class RaisingArgs(Exception):
    args = property(lambda self: 1 / 0)  # type: ignore[assignment]


class RaisingGetattribute(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise AttributeError(name)


class RaisingCause(Exception):
    __cause__ = property(lambda self: 1 / 0)  # type: ignore[assignment]


class RaisingNotes(Exception):
    __notes__ = property(lambda self: 1 / 0)  # type: ignore[assignment]


class RaisingEquality(Exception):
    def __eq__(self, other: object) -> bool:
        raise ValueError

    def __hash__(self) -> int:
        raise ValueError


class FalseException(Exception):
    def __bool__(self) -> bool:
        raise ValueError


class RaisingNew(Exception):
    def __new__(cls, *args: object) -> Any:
        if len(args) != 1:
            raise OSError("no")
        return super().__new__(cls, *args)


class NewMakesAnother(Exception):
    def __new__(cls, *args: object) -> Any:
        return super().__new__(cls, *args) if args == (object,) else 7


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__module__", "__qualname__", "__name__"):
            raise ValueError("no names")
        return super().__getattribute__(name)


class RaisingMeta(Exception, metaclass=Meta):
    pass


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


class EvilText(str):  # noqa: SLOT000
    def __str__(self) -> str:
        raise ValueError

    def encode(self, *_args: Any) -> Any:
        raise ValueError


class EvilDict(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError

    def __iter__(self) -> Any:
        raise ValueError


class EvilNumber(int):
    def __int__(self) -> int:
        raise ValueError

    def __repr__(self) -> str:
        raise ValueError


class EvilObject:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


def _recursive() -> Exception:
    value: list[Any] = []
    value.append(value)
    return ValueError(value)


def _deep() -> Exception:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return ValueError(value)


def _cause_circle() -> Exception:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def _long_chain() -> Exception:
    error: Exception = ValueError(0)
    for number in range(2000):
        outer = ValueError(number)
        outer.__cause__, error = error, outer
    return error


def _self_in_args() -> Exception:
    error = ValueError("x")
    error.args = (error,)
    return error


def _noted() -> Exception:
    error = ValueError("x")
    error.__notes__ = [5, "a" * 100_000, EvilText("b")]  # type: ignore[list-item]
    return error


def _nested_groups() -> BaseException:
    group: BaseException = ValueError("inner")
    for level in range(50):
        group = BaseExceptionGroup(f"level {level}", [group, SystemExit(level)] * 3)
    return group


def _local() -> Exception:
    class Local(Exception):
        pass

    return Local("here")


def _odd_module() -> Exception:
    kind = type("Odd name, 5", (Exception,), {"__module__": None})
    return kind("x")


def _no_args_any_more() -> Exception:
    error = NoSuperCall(EvilObject())
    error.args = ()
    return error


HOSTILE: dict[str, Callable[[], BaseException]] = {
    "needs two arguments": lambda: NeedsTwo(1, 2),
    "keyword only": lambda: KeywordOnly(code=5),
    "calls no super": lambda: NoSuperCall({"a": 1}),
    "takes nothing": TakesNothing,
    "init raises": lambda: _changed(RaisingInit("x"), ("again",)),
    "str raises": lambda: RaisingStr("x"),
    "repr raises": lambda: RaisingRepr("x"),
    "str exits": lambda: ExitingStr("x"),
    "str is a number": lambda: StrOfWrongType("x"),
    "str is huge": lambda: HugeStr("x"),
    "str recurses": lambda: RecursiveStr("x"),
    "reduce raises": lambda: RaisingReduce("x"),
    "reduce runs code": lambda: ReduceRunsCode("x"),
    "lies about its class": lambda: LyingClass("x"),
    "has no class": lambda: RaisingClass("x"),
    "args raise": lambda: RaisingArgs("x"),
    "has no attributes": lambda: RaisingGetattribute("x"),
    "cause raises": lambda: RaisingCause("x"),
    "notes raise": lambda: RaisingNotes("x"),
    "not comparable": lambda: RaisingEquality("x"),
    "no truth": lambda: FalseException("x"),
    "new raises": lambda: _changed(RaisingNew("x"), ()),
    "new makes another": lambda: NewMakesAnother(object),
    "metaclass raises": lambda: RaisingMeta("x"),
    "slots": lambda: Slotted(3),
    "evil text": lambda: ValueError(EvilText("x")),
    "evil dict": lambda: ValueError(EvilDict(a=1)),
    "evil number": lambda: ValueError(EvilNumber(3)),
    "evil object": lambda: ValueError(EvilObject()),
    "huge text": lambda: ValueError("x" * 5_000_000),
    "huge bytes": lambda: ValueError(b"x" * 5_000_000),
    "huge number": lambda: ValueError(1 << 1_000_000),
    "many arguments": lambda: ValueError(*range(100_000)),
    "huge list": lambda: ValueError(["x" * 1000] * 100_000),
    "huge dict": lambda: ValueError({str(number): "x" * 1000 for number in range(10_000)}),
    "lone surrogate": lambda: ValueError("\ud800", {"\udfff": "\udc00"}),
    "not a number": lambda: ValueError(float("nan"), float("inf"), Decimal("NaN")),
    "keys of any kind": lambda: ValueError({1: 2, None: 3, (1, 2): 4}),
    "recursive argument": _recursive,
    "deep argument": _deep,
    "itself as argument": _self_in_args,
    "cause bites its tail": _cause_circle,
    "long chain": _long_chain,
    "odd notes": _noted,
    "nested groups": _nested_groups,
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(1),
    "local class": _local,
    "odd module and name": _odd_module,
    "argument without repr": _no_args_any_more,
}


def _changed(error: BaseException, args: tuple[Any, ...]) -> BaseException:
    error.args = args
    return error
