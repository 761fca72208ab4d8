"""The parts of a signature by name. Owns the attributes; the dict itself is what counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence


class Parts(dict[str, Any]):
    """A signature's dict, whose keys are attributes too."""

    @property
    def task(self) -> str:
        """Name of the task."""
        return cast("str", self["task"])

    @property
    def name(self) -> str:
        """The same, as tasks have it."""
        return self.task

    @property
    def args(self) -> Sequence[Any]:
        """Positional arguments."""
        return cast("Sequence[Any]", self["args"])

    @args.setter
    def args(self, value: Sequence[Any]) -> None:
        self["args"] = value

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments."""
        return cast("dict[str, Any]", self["kwargs"])

    @kwargs.setter
    def kwargs(self, value: dict[str, Any]) -> None:
        self["kwargs"] = value

    @property
    def options(self) -> dict[str, Any]:
        """Options, as of ``apply_async``."""
        return cast("dict[str, Any]", self["options"])

    @options.setter
    def options(self, value: dict[str, Any]) -> None:
        self["options"] = value

    @property
    def subtask_type(self) -> str | None:
        """``chain``, ``group``, ``chord``, or None of a task."""
        return cast("str | None", self.get("subtask_type"))

    @property
    def immutable(self) -> bool:
        """Whether arguments given later are ignored."""
        return bool(self.get("immutable"))

    @immutable.setter
    def immutable(self, value: bool) -> None:
        self["immutable"] = value

    @property
    def id(self) -> str | None:
        """Of the task, once frozen."""
        return self.options.get("task_id")

    @property
    def root_id(self) -> str | None:
        """First task of the tree, when it is known."""
        return self.options.get("root_id")

    @property
    def parent_id(self) -> str | None:
        """The task that sends it, when it is known."""
        return self.options.get("parent_id")
