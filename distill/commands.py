"""What the command lines share: a default subcommand."""

from __future__ import annotations

from typing import Any

import click


class DefaultGroup(click.Group):
    """A group whose first argument may be left out when it is `default_command`.

    ``dlink-export runs/x -o DIR`` is then ``dlink-export run runs/x -o DIR`` beside
    ``dlink-export verify DIR``.
    """

    default_command = "run"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front unless a command or the group's help is asked for."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
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
