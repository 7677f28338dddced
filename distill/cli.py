"""dlink-distill: a recipe in, a run folder with teacher, distilled and matched student out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from distill.commands import DefaultGroup
from distill.compare.cli import compare_command
from targets.errors import user_errors


@click.group(cls=DefaultGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dlink")
def main() -> None:
    """Distil a fine-tuned EEG foundation model into a compact MiC student (DLink).

    \b
    Examples:
      dlink-distill examples/demo.toml -o runs/demo
      DLINK_DATA=/data dlink-distill examples/eegmat.toml -o runs/eegmat
      dlink-distill examples/eegmat.toml -o runs/eegmat --resume
      dlink-distill show runs/eegmat
      dlink-distill compare examples/benchmark-eegmat.toml -o runs/benchmark-eegmat
      dlink-distill sizes --chans 22 --times 800
    """


main.add_command(compare_command)


@main.command("run", hidden=True)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Run folder.")
@click.option(
    "--resume", is_flag=True, help="Continue a run that was stopped; finished stages stay."
)
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes (CPU) or GPUs; more than one trains data-parallel (DDP).",
)
@click.option("--accelerator", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1), default=None, help="CPU threads of torch.")
def run_command(
    recipe: Path, out: Path, resume: bool, devices: int, accelerator: str, threads: int | None
) -> None:
    """Run RECIPE (a TOML file) into the folder OUT."""
    with user_errors("dlink-distill"):
        import torch

        from distill.run import Launch, run

        if threads is not None:
            torch.set_num_threads(threads)
        results = run(recipe, out, resume=resume, launch=Launch(devices, accelerator))
        print_results(results)
        click.echo(f"run folder: {out}   next: dlink-export {out} -o artefacts/{out.name}")


@main.command("show")
@click.argument("run_folder", type=click.Path(path_type=Path))
def show_command(run_folder: Path) -> None:
    """Print the table of a finished run again."""
    from targets.errors import InputError
    from targets.files import read_json

    with user_errors("dlink-distill"):
        results = read_json(run_folder / "results.json", "results")
        if not isinstance(results, dict) or "arms" not in results:
            raise InputError(
                "these are no results of a run",
                where=run_folder / "results.json",
                todo="Give a folder that dlink-distill wrote.",
            )
        print_results(results)


@main.command("sizes")
@click.option("--chans", type=click.IntRange(1), default=19, show_default=True)
@click.option("--times", type=click.IntRange(1), default=800, show_default=True)
@click.option("--classes", type=click.IntRange(2), default=2, show_default=True)
def sizes_command(chans: int, times: int, classes: int) -> None:
    """Print the named sizes of MiC: parameters, MACs, int8 memory, smallest board that holds it."""
    with user_errors("dlink-distill"):
        from distill.students import size_rows, size_table

        click.echo(size_table(size_rows(((chans, times),), classes)))


@main.command("teachers")
def teachers_command() -> None:
    """Print the built-in teachers: what they expect, parameters with the head named, MACs."""
    with user_errors("dlink-distill"):
        from distill.teachers.__main__ import table

        click.echo(table())


def print_results(results: dict[str, Any]) -> None:
    """Table of the three arms on the test split: mean and standard deviation over seeds."""
    from rich.console import Console
    from rich.table import Table

    test = results["split"]["test"]
    table = Table(
        title=f"{results['name']}: test subjects {', '.join(test['subjects'])} "
        f"({test['windows']} windows), {len(results['seeds'])} seeds, mean ± std",
    )
    names = [n for n in results["arms"]["teacher"] if n != "by_subject"]
    table.add_column("model")
    table.add_column("parameters", justify="right")
    table.add_column("MMAC", justify="right")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for arm, entry in results["arms"].items():
        counts = results["models"]["teacher" if arm == "teacher" else "student"]
        cells = [f"{entry[n]['mean']:.3f} ± {entry[n]['std']:.3f}" for n in names]
        label = f"teacher {counts['name']}" if arm == "teacher" else f"{arm} {counts['name']}"
        table.add_row(label, f"{counts['params']:,}", f"{counts['macs'] / 1e6:.2f}", *cells)
    Console(width=None if Console().is_terminal else 140).print(table)
