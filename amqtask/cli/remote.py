"""Asking workers from the command line: which words become which question, and how answers are shown.

Owns what ``amqtask inspect``, ``control`` and ``status`` have in common. Their commands are those of the registry, the
app's own included.
"""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.command import Command, comma_separated
from amqtask.cli.exits import DATA, UNAVAILABLE
from amqtask.cli.output import print_json, say
from amqtask.plugins import did_you_mean

_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.cli.setup import Setup
    from amqtask.control.registry import Command as Question
    from amqtask.control.registry import Kind

DESTINATION_OPTION = click.option(
    "-d", "--destination", multiple=True, metavar="NODES", callback=comma_separated,
    help="Names of the workers that are meant, separated by commas; all if left out.",
)  # fmt: skip
TIMEOUT_OPTION = click.option(
    "-t", "--timeout", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="SECONDS",
    help="How long to wait for answers, unless all that were named have answered.",
)  # fmt: skip
JSON_OPTION = click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document: node -> answer.")


def list_option(kind: Kind) -> Callable[[Any], Any]:
    """``--list``: the commands of a kind; those of an app only when it is named."""

    def show(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value and not context.resilient_parsing:
            formatter = click.HelpFormatter(width=110)
            with formatter.section(f"Commands of 'amqtask {kind}'"):
                known = [one for one in _commands(context.find_root().obj).values() if one.kind == kind]
                formatter.write_dl([(f"{one.name} {one.signature}".strip(), one.help) for one in known])
            print(formatter.getvalue(), end="")
            context.exit()

    return click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=show, help="List commands.")


def asking(kind: Kind, short_help: str, text: str) -> Command:
    """The command of the command line that asks workers commands of a kind.

    Args:
        kind: also its name.
        short_help: its line in a list.
        text: its help.
    """

    @click.command(kind, cls=Command, short_help=short_help, help=text)
    @click.argument("command")
    @click.argument("arguments", nargs=-1)
    @DESTINATION_OPTION
    @TIMEOUT_OPTION
    @JSON_OPTION
    @list_option(kind)
    @click.pass_obj
    def command(setup: Setup, /, command: str, arguments: tuple[str, ...], **how: Any) -> int:
        return ask(setup, kind, (command, *arguments), **how)

    return command


def ask(
    setup: Setup,
    kind: Kind,
    words: Sequence[str],
    *,
    destination: Sequence[str],
    timeout: float,
    as_json: bool,
) -> int:
    """Send a command and show the answers as they come; returns the exit code.

    Raises:
        click.UsageError: there is no such command, or its arguments can't be read.
    """
    app = setup.load("nothing")
    known = {name: one for name, one in _commands(setup).items() if one.kind == kind}
    if words[0] not in known:
        raise click.UsageError(
            f"no such command {words[0]!r}{did_you_mean(words[0], known)}; 'amqtask {kind} --list' shows all",
            click.get_current_context(),
        )
    arguments = _arguments(known[words[0]], words[1:])
    _keep(app, words[0], arguments)
    return show(setup, app, words[0], arguments, destination=destination, timeout=timeout, as_json=as_json)


def show(
    setup: Setup,
    app: Amqtask,
    command: str,
    arguments: dict[str, Any],
    *,
    destination: Sequence[str],
    timeout: float,
    as_json: bool,
    line: Callable[[str, Any], str] | None = None,
) -> int:
    """Send any command and show the answers; returns the exit code: DATA when each answer is an error.

    Args:
        setup: of the command line.
        app: whose workers are asked.
        command: its name.
        arguments: of it.
        destination: nodes; empty: all.
        timeout: seconds.
        as_json: one document at the end.
        line: makes the text for a node and its answer.
    """
    found: dict[str, Any] = {}
    for answer in app.control.stream(command, arguments, list(destination) or None, timeout):
        found.update(answer)
        if not as_json:
            for node, value in answer.items():
                print(_block(node, value) if line is None else line(node, value), flush=True)
    if as_json:
        print_json(found)
    if not found:
        kept = " The revocation is kept: workers that start later obey it." if arguments.get("kept") else ""
        say(setup, f"No worker has answered within the time.{kept}")
        return UNAVAILABLE
    if all(isinstance(value, dict) and value.keys() == {"error"} for value in found.values()):
        return DATA
    if not as_json:
        say(setup, f"\n{len(found)} node{'' if len(found) == 1 else 's'} online.")
    return 0


def _keep(app: Amqtask, command: str, arguments: dict[str, Any]) -> None:
    """Have the broker keep a revocation, so that it holds whoever answers; raises BrokerError when it does not."""
    from amqtask.control.tombstones import stamp_values  # noqa: PLC0415 -- --help does without
    from amqtask.worker.control import words  # noqa: PLC0415
    from amqtask.worker.control.dispatch import Refused  # noqa: PLC0415

    if command in {"revoke", "terminate"} and arguments.get("task_id"):
        app.control.keep_revoked(words.names(arguments["task_id"]))
    elif command == "revoke_by_stamped_headers" and arguments.get("headers"):
        try:
            stamps = words.stamps(arguments["headers"])
        except Refused as error:
            raise click.UsageError(str(error), click.get_current_context()) from None
        app.control.keep_stamps_revoked({name: stamp_values(values) for name, values in stamps.items()})
    else:
        return
    arguments["kept"] = True


def _block(node: str, value: Any) -> str:
    if isinstance(value, dict) and value.keys() in ({"ok"}, {"error"}):
        ((word, text),) = value.items()
        indented = "\n".join(f"    {line}" if line else "" for line in str(text).strip("\n").splitlines())
        return f"-> {node}: {'OK' if word == 'ok' else 'ERROR'}\n{indented}"
    if value in ([], {}, None):
        return f"-> {node}: OK\n    - empty -"
    if isinstance(value, list):
        lines = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in value]
        return "\n".join((f"-> {node}: OK", *(f"    * {line}" for line in lines)))
    indented = json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n    ")
    return f"-> {node}: OK\n    {indented}"


def _commands(setup: Setup) -> dict[str, Question]:
    from amqtask.control.registry import commands  # noqa: PLC0415 -- --help does without
    from amqtask.worker.control.commands import load_commands  # noqa: PLC0415

    load_commands()
    if setup.app_path:
        (setup.loaded or setup.load("app")).load_tasks()  # its own commands are declared there
    return dict(sorted(commands.items()))


def _arguments(command: Question, words: Sequence[str]) -> dict[str, Any]:
    """The arguments of a command from words; ``name=value`` is taken for a name that it declares."""
    arguments: dict[str, Any] = {}
    types, left = dict(command.args), list(words)
    for word in [one for one in left if one.partition("=")[1] and one.partition("=")[0] in types]:
        left.remove(word)
        name, _, text = word.partition("=")
        arguments[name] = _read(command, name, types[name], text)
    for name, kind in command.args:
        if left and name not in arguments:
            arguments[name] = _read(command, name, kind, left.pop(0))
    if command.variadic is not None and left:
        arguments[command.variadic] = left
    elif left:
        raise click.UsageError(_usage(command), click.get_current_context())
    if not _required(command) <= arguments.keys():
        raise click.UsageError(_usage(command), click.get_current_context())
    return arguments


def _required(command: Question) -> set[str]:
    """What its function can't do without, the panel aside."""
    _, *parameters = inspect.signature(command.function).parameters.values()
    return {one.name for one in parameters if one.default is one.empty and one.kind not in _ANY_NUMBER}


def _read(command: Question, name: str, kind: Callable[[str], Any], text: str) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise click.UsageError(f"{name}: {error}; {_usage(command)}", click.get_current_context()) from None


def _usage(command: Question) -> str:
    return f"{command.name!r} takes {command.signature or 'no arguments'}"
