"""What the body of a message carries of a canvas: callbacks, errbacks, the rest of its chain, the body of its chord.

Owns what counts as a signature there. All of it is looked at before the task runs: found wrong afterwards, it would
cost a task that has run well, or whoever has to tell the steps behind it that they never will.
"""

from __future__ import annotations

from typing import Any

from amqtask.errors import DecodeError

_COMPOSED = ("chain", "group", "chord")
_PARTS = ("args", "kwargs", "options", "subtask_type")
_TEXTS = ("task_id", "reply_to", "group_id")
_LISTED = ("link", "link_error", "chain", "chord")


def checked(embed: dict[str, Any]) -> dict[str, Any]:
    """The same, whose signatures can be planned, told of a failure and counted; what says nothing is None.

    Raises:
        DecodeError: one is none.
    """
    try:
        for name in ("callbacks", "errbacks", "chain", "chord"):
            if value := embed.get(name):
                _signatures(value)
            elif name in embed:
                embed[name] = None
    except (TypeError, UnicodeEncodeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DecodeError(f"what follows from the task can't be read: {name}: {reason}") from None
    return embed


def _signatures(value: Any) -> None:
    """One signature or several."""
    for one in value if isinstance(value, list | tuple) else (value,):
        _signature(one)


def _signature(value: Any) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("task"), str):
        raise TypeError(f"{value!r:.100} is not a signature")
    value["task"].encode()
    args, kwargs, options, composed = (value.get(name) for name in _PARTS)
    if not isinstance(args, list | tuple | None) or not isinstance(kwargs, dict | None):
        raise TypeError(
            f"the signature of {value['task']!r:.100} has args that aren't a list, or kwargs that aren't a map"
        )
    if not isinstance(options, dict | None) or not isinstance(composed, str | None):
        raise TypeError(
            f"the signature of {value['task']!r:.100} has options that aren't a map, or a subtask_type that isn't text"
        )
    if options:
        _options(options)
    if composed not in _COMPOSED:
        return
    if kwargs is None:
        raise TypeError(f"the {composed} has no kwargs, so no members")
    if composed == "chord":
        _chord(kwargs)
    else:
        _members(kwargs.get("tasks"), composed)


def _members(value: Any, of: str) -> None:
    if not isinstance(value, list | tuple | None):
        raise TypeError(f"the members of a {of} are {value!r:.100}, not a list")
    _signatures(value or ())


def _chord(kwargs: dict[str, Any]) -> None:
    header, body = kwargs.get("header"), kwargs.get("body")
    if isinstance(header, dict) and "options" in header and header.get("subtask_type") == "group":
        _signature(header)
    else:
        _members(header, "chord")
    _signature(body)


def _options(options: dict[str, Any]) -> None:
    """Those that answers, results and chords are found by; all others concern the step alone, see Sendings."""
    for name in _TEXTS:
        text = options.get(name)
        if not isinstance(text, str | None):
            raise TypeError(f"the option {name} is {text!r:.100}, not text")
        (text or "").encode()
    if not isinstance(options.get("group_index"), int | None):
        raise TypeError(f"the option group_index is {options['group_index']!r:.100}, not a number")
    for name in _LISTED:
        if options.get(name) is not None:
            _signatures(options[name])
