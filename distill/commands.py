"""What the command lines share: a default subcommand."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class DefaultGroup(click.Group):
    """A group that does its default command unless another one is named.

    ``dlink-export runs/x -o DIR`` stands beside ``dlink-export verify DIR``. The default command is
    never typed, so that a folder may bear its name.
    """

    default_command = "run"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front unless another one or the group's help is asked for."""
        named = (*self.list_commands(ctx), "--help", "-h", "--version")
        if args and (args[0] not in named or args[0] == self.default_command):
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the short form first, since it is what people type."""
        default: Any = self.get_command(ctx, self.default_command)
        pieces = " ".join(
            piece for param in default.get_params(ctx) for piece in param.get_usage_pieces(ctx)
        )
        formatter.write_usage(ctx.command_path, f"[OPTIONS] {pieces}".strip())
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="   or: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the default command's options, then the commands."""
        default: Any = self.get_command(ctx, self.default_command)
        default.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


class LazyGroup(DefaultGroup):
    """The same, with commands that are imported when they are called.

    `lazy` maps a command's name to "module:attribute" and the line that the help shows.
    """

    lazy: Mapping[str, tuple[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now if it is a lazy one."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with one line each, importing none."""
        rows = [(name, about) for name, (_, about) in sorted(self.lazy.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
