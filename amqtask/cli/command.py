"""Classes of all commands and groups: the common options in every position, and did-you-mean for names.

Owns the common options. Each is accepted before and after a command's name; the last one wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.exits import ReaderGone
from amqtask.cli.setup import APP_VARIABLE, Setup
from amqtask.plugins import Registry, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
FORCE_OPTION = click.option("-f", "--force", is_flag=True, help="Don't ask.")


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    setup = context.find_root().ensure_object(Setup)
    if value is not None and value is not False and parameter.name is not None:
        setattr(setup, parameter.name, value)


class CommonOption(click.Option):
    """An option that every command has; its value goes to :class:`~amqtask.cli.setup.Setup`."""

    def __init__(self, *names: str, **attributes: Any) -> None:
        super().__init__(names, expose_value=False, callback=_remember, **attributes)


def _common_options() -> list[click.Parameter]:
    return [
        CommonOption("-A", "--app", metavar="APP", help=f"module or module:attribute.  [env: {APP_VARIABLE}]"),
        CommonOption(
            "-b",
            "--broker",
            metavar="URL",
            help="amqp:// or amqps:// URL, several with ';'; or dev://.  [env: AMQTASK_BROKER_URL]",
        ),
        CommonOption("--routing", metavar="FILE", help="The routing file, instead of the app's."),
        CommonOption("--result-backend", metavar="URL", help="Where results are kept, instead of the app's."),
        CommonOption("--config", metavar="MODULE", help="Settings from this module; what the app sets itself wins."),
        CommonOption("--loader", metavar="NAME", hidden=True),
        CommonOption("--workdir", metavar="DIR", help="Change to this folder first."),
        CommonOption("-C", "--no-color", is_flag=True, help="No colours."),
        CommonOption("-q", "--quiet", is_flag=True, help="Say only what was asked for."),
    ]


class _Common(click.Command):
    """What commands and groups have in common."""

    def __init__(self, name: str | None = None, params: list[click.Parameter] | None = None, **attributes: Any) -> None:
        super().__init__(name, params=[*(params or []), *_common_options()], **attributes)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options first, then the common ones."""
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(ctx)
            if record is not None:
                (common if isinstance(parameter, CommonOption) else own).append(record)
        for title, records in (("Options", own), ("Common options", common)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Command(_Common):
    """A command."""


class Group(_Common, click.Group):
    """A group of commands, all with the common options."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands first: they are what a group is about."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a wrong name is answered with the nearest."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"no such command {args[0]!r}{did_you_mean(args[0], self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)


class RegistryGroup(Group):
    """A group whose commands are the modules of a folder; each is imported when it is named.

    Args:
        commands: where they are found.
        elsewhere: names that are no commands -> what to use instead.
    """

    def __init__(
        self, *args: Any, commands: Registry[click.Command], elsewhere: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._registry, self._elsewhere = commands, elsewhere

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; one of another program's is answered with what does the same."""
        if args and (instead := self._elsewhere.get(args[0])) and args[0] not in self._registry:
            raise click.UsageError(f"no such command {args[0]!r}: {instead}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Their names, sorted."""
        return self._registry.names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name, or None."""
        return self._registry.get(cmd_name) if cmd_name in self._registry else None


def comma_separated(_context: click.Context, _parameter: click.Parameter, value: Sequence[str]) -> tuple[str, ...]:
    """Callback of options such as ``-Q a,b -Q c``: the names, in order."""
    return tuple(name.strip() for text in value for name in text.split(",") if name.strip())
