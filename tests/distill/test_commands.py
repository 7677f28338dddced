"""A group with a default command: what is typed, and what is meant."""

import click
import pytest
from click.testing import CliRunner

from distill.commands import DefaultGroup


@click.group(cls=DefaultGroup)
def tool():
    """Do things."""


@tool.command("run", hidden=True)
@click.argument("folder")
@click.option("-o", "--out", required=True, help="Where to.")
def run(folder, out):
    """Do the default."""
    click.echo(f"run {folder} {out}")


@tool.command("verify")
@click.argument("folder")
def verify(folder):
    """Check."""
    click.echo(f"verify {folder}")


def call(*args):
    return CliRunner().invoke(tool, list(args))


@pytest.mark.parametrize(
    ("args", "output"),
    [
        (("folder", "-o", "x"), "run folder x"),
        (("-o", "x", "folder"), "run folder x"),
        (("run", "-o", "x"), "run run x"),  # a folder of the command's own name
        (("verify", "folder"), "verify folder"),
        (("./verify", "-o", "x"), "run ./verify x"),
    ],
)
def test_the_default_is_meant_unless_a_command_is_named(args, output):
    done = call(*args)
    assert (done.exit_code, done.output.strip()) == (0, output)


def test_help_shows_the_defaults_options_and_the_other_commands():
    text = call("--help").output
    assert "tool [OPTIONS] FOLDER" in text
    assert "--out" in text
    assert "verify" in text
    assert "\n  run" not in text


def test_what_is_missing_is_said():
    done = call("folder")
    assert done.exit_code == 2
    assert "Missing option '-o' / '--out'" in done.output
