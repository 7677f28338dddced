"""dlink-distill compare."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distill.compare.launch import LAUNCHERS
from targets.errors import InputError, user_errors

if TYPE_CHECKING:
    from rich.console import Console

    from distill.compare.schedule import Progress

EXIT_FAILED = 1


@click.command("compare")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder.")
@click.option("--resume", is_flag=True, help="Go on; what is finished stays.")
@click.option("--jobs", type=click.IntRange(1), default=None,
              help="Processes at a time (default: cores; with Ray and Slurm: all).")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=None,
              help="Threads of each process (default: cores // jobs).")  # fmt: skip
@click.option("--launcher", type=click.Choice(LAUNCHERS), default="processes", show_default=True)
@click.option("--slurm", multiple=True, metavar="KEY=VALUE",
              help="Option of Slurm, as partition=gpu or time=120; may be repeated.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), default=None,
              help="Markdown file of which one section is written anew.")  # fmt: skip
@click.option("--section", default=None, help="Name of that section (default: the recipe's).")
def compare_command(
    recipe: Path, out: Path, resume: bool, jobs: int | None, threads: int | None, launcher: str,
    slurm: tuple[str, ...], report: Path | None, section: str | None,
) -> None:  # fmt: skip
    """Compare the arms of RECIPE's [compare] over its seeds, into the folder OUT.

    \b
    Example:
      dlink-distill compare examples/compare.toml -o runs/compare --jobs 2
    """
    with user_errors("dlink-distill compare"):
        failed = _compare(
            recipe, out, resume=resume, jobs=jobs, threads=threads, launcher=launcher,
            options=_options(slurm), report=report, section=section,
        )  # fmt: skip
    if failed:
        sys.exit(EXIT_FAILED)


def _compare(
    recipe: Path, out: Path, *, resume: bool, jobs: int | None, threads: int | None,
    launcher: str, options: dict[str, str], report: Path | None, section: str | None,
) -> bool:  # fmt: skip
    """Do it; return whether a job failed."""
    from rich.console import Console

    from distill.compare.comparison import Way, check, collect, plan, train
    from distill.compare.launch import cores, make_launcher
    from distill.compare.output import write
    from distill.compare.progress import watching
    from distill.compare.tables import show
    from distill.run import prepare

    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=140)
    starter = make_launcher(launcher, out.absolute() / "slurm", options)
    try:
        stood = (out / "run.json").exists()
        here = prepare(recipe, out, resume=resume, comparison=True)
        try:
            check(here)
        except InputError:
            if not stood:
                here.discard()
            raise
        every = len(plan(here, 1))
        parallel = min(every, jobs or (cores() if launcher == "processes" else every))
        each = threads or (max(1, cores() // parallel) if launcher == "processes" else 1)
        way = Way(launcher, parallel, each)
        with watching(console) as watch:
            progress = train(here, starter, way, watch)
    finally:
        starter.close()
    found = collect(here, progress.states, way, _command(recipe, out, launcher))
    paths = write(found, out)
    if report is not None:
        _report(report, section or found.name, found)
    show(found, console)
    failed = _failures(console, progress)
    if not failed:
        here.finish()
    files = ", ".join(path.name for path in paths)
    console.print(f"in {out}: {files}", markup=False, highlight=False, soft_wrap=True)
    return failed


def _report(path: Path, section: str, found: Any) -> None:
    from distill.compare.report import replace_section
    from distill.compare.tables import document

    replace_section(path, section, document(found, level=2))


def _failures(console: Console, progress: Progress) -> bool:
    """Name each step that is not done, with its log's last line; whether there is one."""
    lost = progress.names("failed", "blocked")
    for name in lost:
        step = progress.steps[name]
        why = f"needs {', '.join(step.needs)}"
        if progress.states[name] == "failed":
            lines = step.log.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "no output")
            why = f"{last} (log {step.log})"
        text = f"{progress.states[name]}: {name}: {why}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return bool(lost)


def _options(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name.isidentifier() and sign and value):
            raise InputError(
                "option is not KEY=VALUE", where="--slurm", value=pair, todo="As in time=120."
            )
        found[name] = value
    return found


def _command(recipe: Path, out: Path, launcher: str) -> str:
    """The command that makes this comparison again, without folders of this machine."""
    parts = ["dlink-distill", "compare", _shown(recipe), "-o", _shown(out)]
    return shlex.join(parts + (["--launcher", launcher] if launcher != "processes" else []))


def _shown(path: Path) -> str:
    """The path as it was given, or below the current folder; of any other only the name."""
    if not path.is_absolute():
        return str(path)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else path.name
