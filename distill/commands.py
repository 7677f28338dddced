"""What the command lines share: a default subcommand."""

from __future__ import annotations

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
        named = (*self.commands, "--help", "-h", "--version")
        if args and (args[0] not in named or args[0] == self.default_command):
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the short form first, since it is what people type."""
        default: Any = self.commands[self.default_command]
        pieces = " ".join(
            piece for param in default.get_params(ctx) for piece in param.get_usage_pieces(ctx)
        )
        formatter.write_usage(ctx.command_path, f"[OPTIONS] {pieces}".strip())
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="   or: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the default command's options, then the commands."""
        self.commands[self.default_command].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)
