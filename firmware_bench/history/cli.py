"""The commands `history ...`: results over commits, in one SQLite file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targets.errors import InputError, user_errors

if TYPE_CHECKING:
    from firmware_bench.history.figures import Filter

_PATH = click.Path(path_type=Path)
_HELP = {"help_option_names": ["-h", "--help"]}
_NAME = "dlink-bench history"
_FILTERS = ("metric", "target", "board", "model", "format", "artefact", "evidence")


def _filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose figures; the command gets them as `chosen`."""
    for name in reversed(_FILTERS):
        command = click.option(f"--{name}", f"only_{name}", help=f"Only this {name}.")(command)
    return command


def _filter(options: dict[str, Any]) -> Filter:
    from firmware_bench.history.figures import Filter
    from targets.metrics import METRICS
    from targets.target import suggestion

    metric = options.get("only_metric")
    if metric is not None and metric not in METRICS:
        raise InputError(
            "unknown metric", value=metric, limit=", ".join(METRICS),
            todo=suggestion(metric, list(METRICS)),
        )  # fmt: skip
    return Filter(**{name: options.get(f"only_{name}") for name in _FILTERS})


@click.group(context_settings=_HELP)
@click.option(
    "--db", type=_PATH, default=Path("history.sqlite"), show_default=True,
    envvar="DLINK_HISTORY", show_envvar=True, help="The history's file.",
)  # fmt: skip
@click.pass_context
def history(context: click.Context, db: Path) -> None:
    """Keep results of many runs, and see figures over commits."""
    context.obj = db


@history.command(context_settings=_HELP)
@click.argument("files", nargs=-1, required=True, type=_PATH, metavar="RESULTS...")
@click.option(
    "--commit",
    help='What the figures belong to, instead of what the results say; "+dirty" behind it counts.',
)
@click.pass_obj
def add(db: Path, files: tuple[Path, ...], commit: str | None) -> None:
    """Put RESULTS files in, each whole or not at all; what is in already stays as it is."""
    with user_errors(_NAME):
        from firmware_bench import results
        from firmware_bench.history.store import History

        if commit is not None and (not commit.removesuffix("+dirty") or commit.split() != [commit]):
            raise InputError("not a commit", where="--commit", value=repr(commit))
        read = [(path, results.load(path)) for path in files]  # a faulty one before any goes in
        with History(db, create=True) as found:
            for path, one in read:
                added = found.add(one, commit=commit)
                what = f"{added.figures} figures" if added.new else "is in already"
                click.echo(f"{path}: {added.label}: {what}")


@history.command("list", context_settings=_HELP)
@click.pass_obj
def list_results(db: Path) -> None:
    """List the results that are in, oldest first."""
    with user_errors(_NAME):
        from firmware_bench.history import tables
        from firmware_bench.history.store import History

        with History(db) as found:
            tables.show(tables.results_table(found.results()))


@history.command(context_settings=_HELP)
@_filtered
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the N latest figures.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@click.pass_obj
def show(db: Path, last: int | None, as_json: bool, **chosen: Any) -> None:
    """Show figures over commits, oldest first."""
    with user_errors(_NAME):
        import json

        from firmware_bench.history import tables
        from firmware_bench.history.export import as_rows
        from firmware_bench.history.store import History

        with History(db) as found:
            figures = found.figures(_filter(chosen))
        figures = figures[-last:] if last else figures
        if as_json:
            click.echo(json.dumps(as_rows(figures), indent=2))
        elif figures:
            tables.show(tables.figures_table(figures))
        else:
            raise InputError("no such figure in the history", where=db)


@history.command(context_settings=_HELP)
@_filtered
@click.option(
    "-o", "--out", "output", type=_PATH, default=Path("history.png"), show_default=True,
    help="Picture to write: .png, .svg or .pdf.",
)  # fmt: skip
@click.pass_obj
def plot(db: Path, output: Path, **chosen: Any) -> None:
    """Draw a metric over commits (latency_median without --metric), a panel a target.

    Figures whose environment was not valid are hollow; kinds of evidence are lines of their own.
    """
    with user_errors(_NAME):
        from firmware_bench.history.plot import plot as draw
        from firmware_bench.history.store import History

        metric = chosen["only_metric"] = chosen["only_metric"] or "latency_median"
        with History(db) as found:
            figures = found.figures(_filter(chosen))
        draw(output, figures, metric)
        click.echo(f"plot: {output}")


@history.command(context_settings=_HELP)
@_filtered
@click.option("--csv", "csv_file", type=_PATH, metavar="FILE", help="Write a CSV file.")
@click.option("--json", "json_file", type=_PATH, metavar="FILE", help="Write a JSON file.")
@click.option(
    "--parquet", "parquet_file", type=_PATH, metavar="FILE",
    help="Write a Parquet file; needs pyarrow.",
)  # fmt: skip
@click.pass_obj
def export(
    db: Path,
    csv_file: Path | None,
    json_file: Path | None,
    parquet_file: Path | None,
    **chosen: Any,
) -> None:
    """Write figures for other programs, one row each."""
    with user_errors(_NAME):
        from firmware_bench.history import export as tables
        from firmware_bench.history.store import History

        writers = (
            (csv_file, tables.write_csv),
            (json_file, tables.save_json),
            (parquet_file, tables.write_parquet),
        )
        if not any(path for path, _ in writers):
            raise InputError("nothing to write", todo="Give --csv, --json or --parquet.")
        with History(db) as found:
            figures = found.figures(_filter(chosen))
        for path, write in writers:
            if path is not None:
                write(path, figures)
                click.echo(f"{len(figures)} figures: {path}")


@history.command(context_settings=_HELP)
@click.argument("commit_a")
@click.argument("commit_b")
@click.option(
    "--tolerance", type=click.FloatRange(0), default=0.1, show_default=True,
    help="Relative change that a measured figure without an interval may have.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Show what did not change, too.")
@click.option("--fail", is_flag=True, help="Exit with 1 if a figure got worse.")
@click.pass_obj
def compare(
    db: Path, commit_a: str, commit_b: str, tolerance: float, everything: bool, fail: bool
) -> None:
    """Tell what changed from COMMIT_A to COMMIT_B; the first digits of each are enough.

    Deterministic figures (counts, sizes, outputs, estimates) changed if they differ at all, times
    if each lies outside the other's interval. Times of an environment that is not valid are never
    better or worse, only "indicative".
    """
    with user_errors(_NAME):
        from collections import Counter

        from firmware_bench.history import compare as judging
        from firmware_bench.history import tables
        from firmware_bench.history.store import History

        with History(db) as found:
            before, after = found.at(commit_a), found.at(commit_b)
        changes = judging.compare(before, after, tolerance=tolerance)
        shown = [one for one in changes if everything or one.verdict != "same"]
        if shown:
            tables.show(tables.changes_table(shown, before[0].label, after[0].label))
        count = Counter(one.verdict for one in changes)
        click.echo(", ".join(f"{count[verdict]} {verdict}" for verdict in sorted(count)))
        sys.exit(1 if fail and count["worse"] else 0)
