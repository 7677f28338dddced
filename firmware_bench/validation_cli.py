"""The command behind ``python -m firmware_bench.validation``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from targets.errors import InputError, user_errors

_BOARD = "nucleo-l4r5zi"
_MODELS = ("kws", "ic", "ad")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--models", type=click.Path(path_type=Path), envvar="DLINK_REFERENCE", metavar="DIR",
    help="Folder with kws, ic and ad.tflite: our estimates for them are added. [DLINK_REFERENCE]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print for a program.")
def command(models: Path | None, as_json: bool) -> None:
    """Compute the error of the cycle estimates from published measurements."""
    with user_errors("validation"):
        from firmware_bench import validation
        from targets.target import load

        pairs = validation.load().pairs
        ours = validation.against_best(load(_BOARD), _our_cycles(models)) if models else []
        if as_json:
            click.echo(json.dumps(_as_json(pairs, ours), indent=2))
            return
        click.echo("Estimate against published measurement (error = estimate / measurement - 1)")
        for pair in pairs:
            click.echo(
                f"  {pair.board} {pair.model:4} {pair.engine} estimated {pair.estimate_ms:.1f} ms,"
                f" {pair.measured.engine} {pair.measured.round} measured"
                f" {pair.measured.time_ms:.1f} ms: {100 * pair.error:+.1f} %"
            )
        click.echo(f"  Not the same binary: {pairs[0].note}.")
        click.echo("Ranges quoted from a study, not computed here")
        for name, study in validation.load().study.items():
            click.echo(f"  {name}: {study.text}")
        if ours:
            click.echo(f"Our library on {_BOARD}, estimated, against the fastest published engine")
        for model, cycles, best, ratio in ours:
            click.echo(
                f"  {model:4} {cycles / 1e6:.2f} M cycles, {best.engine} {best.round}"
                f" {best.cycles / 1e6:.2f} M ({best.time_ms:g} ms): {ratio:.2f} times its time"
            )


def _our_cycles(folder: Path) -> dict[str, int]:
    """Estimate our library on the board for each model of the folder."""
    from firmware_bench.run import measure

    found = {}
    for name in _MODELS:
        path = folder / f"{name}.tflite"
        if not path.is_file():
            raise InputError("reference model not found", where=path, todo="Check --models.")
        cycles = measure(path, [_BOARD]).select(metric="cycles_estimated")
        if cycles and cycles[0].value is not None:
            found[name] = int(cycles[0].value)
    return found


def _as_json(pairs: Any, ours: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "errors": [
            {
                "board": pair.board,
                "model": pair.model,
                "estimated_engine": pair.engine,
                "estimated_ms": pair.estimate_ms,
                "measured_engine": pair.measured.engine,
                "measured_ms": pair.measured.time_ms,
                "source": pair.measured.source,
                "error": pair.error,
            }
            for pair in pairs
        ],
        "ours": [
            {
                "model": model,
                "cycles_estimated": cycles,
                "best_engine": best.engine,
                "best_cycles": best.cycles,
                "ratio": ratio,
            }
            for model, cycles, best, ratio in ours
        ],
    }
