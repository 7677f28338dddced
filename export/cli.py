"""dlink-export: a run folder in, one verified artefact folder out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distill.commands import DefaultGroup
from targets.errors import user_errors

if TYPE_CHECKING:
    from export.parity import ParityResult

EXIT_FAILED = 1
FOLDER = click.Path(path_type=Path)


@click.group(cls=DefaultGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dlink")
def main() -> None:
    """Export a distilled student: ONNX, TFLite, C, golden vectors, manifest, model card.

    \b
    Examples:
      dlink-export runs/eegmat -o artefacts/eegmat --with-teacher
      dlink-export verify artefacts/eegmat
      dlink-export inspect artefacts/eegmat
    """


@main.command("run", hidden=True)
@click.argument("run_folder", type=FOLDER)
@click.option("-o", "--out", type=FOLDER, required=True, help="Artefact folder.")
@click.option("--with-teacher", is_flag=True, help="Put the teacher's ONNX beside the student.")
@click.option(
    "--arm",
    type=click.Choice(["distilled", "matched"]),
    default="distilled",
    show_default=True,
    help="Which student.",
)
@click.option(
    "--calibration",
    type=click.IntRange(8),
    default=256,
    show_default=True,
    help="Training windows that set the int8 scales.",
)
@click.option(
    "--golden",
    type=click.IntRange(2),
    default=100,
    show_default=True,
    help="Test windows kept as golden vectors.",
)
def run_command(
    run_folder: Path, out: Path, with_teacher: bool, arm: str, calibration: int, golden: int
) -> None:
    """Export the selected student of RUN_FOLDER into the folder OUT."""
    with user_errors("dlink-export"):
        from rich.console import Console

        from export.artefact import Options, ParityFailureError, build

        console = Console(stderr=True)
        try:
            with console.status("exporting") as status:

                def say(text: str) -> None:
                    status.update(text)
                    if not console.is_terminal:
                        click.echo(f"  {text}", err=True)

                options = Options(with_teacher, arm, calibration, golden)
                build(run_folder, out, options, say)
        except ParityFailureError as err:
            click.echo(f"dlink-export: {err}", err=True)
            sys.exit(EXIT_FAILED)
        print_artefact(out)
        click.echo(f"artefact: {out}   next: dlink-bench {out} -t host -t nucleo-l4r5zi")


@main.command("verify")
@click.argument("artefact", type=FOLDER)
def verify_command(artefact: Path) -> None:
    """Check every checksum of ARTEFACT and run its parity again, from the folder alone."""
    with user_errors("dlink-export"):
        from export.manifest import load
        from export.stages import replay

        found = load(artefact)
        click.echo(f"{len(found.files)} files: checksums agree")
        rows = list(replay(artefact))
        print_parity(rows)
        failed = [what for what, result in rows if not result.passed]
        if failed:
            click.echo(f"dlink-export: parity failed: {', '.join(failed)}", err=True)
            sys.exit(EXIT_FAILED)
        click.echo(f"{artefact}: verified")


@main.command("inspect")
@click.argument("artefact", type=FOLDER)
def inspect_command(artefact: Path) -> None:
    """Print what ARTEFACT holds, after checking its checksums."""
    with user_errors("dlink-export"):
        print_artefact(artefact)


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for k, column in enumerate(columns):
        table.add_column(column, justify="right" if k else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def print_parity(rows: list[tuple[str, ParityResult]]) -> None:
    """Table of parity results."""
    _table(
        "parity on the golden vectors",
        ["what ran", "windows", "max abs", "cosine", "top-1", "verdict"],
        [
            [what, str(r.parity.n), f"{r.parity.max_abs:.3g}", f"{r.parity.cosine:.6f}",
             f"{r.parity.top1_agreement:.3f}", "passed" if r.passed else "; ".join(r.failed)]
            for what, r in rows
        ],
    )  # fmt: skip


def print_artefact(folder: Path) -> None:
    """Files with sizes, parity and accuracy by format."""
    from export.manifest import load
    from targets.files import read_json

    found = load(folder)
    _table(
        f"{found.name}: {found.signal.n_chans} electrodes, {found.signal.seconds:g} s at "
        f"{found.signal.sfreq:g} Hz -> {', '.join(found.labels)}",
        ["file", "bytes", "sha256"],
        [[name, f"{entry.bytes:,}", entry.sha256[:12]] for name, entry in found.files.items()],
    )
    parity: list[dict[str, Any]] = read_json(folder / "parity.json", "parity")
    _table(
        "parity on the golden vectors",
        ["what ran", "windows", "max abs", "cosine", "top-1"],
        [
            [row["what"], str(row["parity"]["n"]), f"{row['parity']['max_abs']:.3g}",
             f"{row['parity']['cosine']:.6f}", f"{row['parity']['top1_agreement']:.3f}"]
            for row in parity
        ],
    )  # fmt: skip
    _table(
        f"accuracy by format on the test split, seed {found.metrics['selected_seed']}",
        ["format", "balanced accuracy", "drop", "same decision as torch"],
        [
            [name, f"{s['balanced_accuracy']:.3f}", f"{s['accuracy_drop']:+.4f}",
             f"{s['top1_agreement']:.3f}"]
            for name, s in found.metrics["formats"].items()
        ],
    )  # fmt: skip
