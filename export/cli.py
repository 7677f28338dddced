"""dlink-export: a student in, one verified artefact folder out."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distill.commands import DefaultGroup
from targets.errors import user_errors

if TYPE_CHECKING:
    from export.options import Options
    from export.sources import Source

EXIT_FAILED = 1
FOLDER = click.Path(path_type=Path)


@click.group(cls=DefaultGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dlink")
def main() -> None:
    """Export a student: ONNX, TFLite, C, golden vectors, manifest, model card.

    \b
    SOURCE is one of
      runs/eegmat           a folder that dlink-distill finished
      braindecode:EEGNet    a model of braindecode, with --weights and --data
      module:my_net.py:make your own factory, with --weights and --data
      net.onnx              an ONNX file, with --data or --signal

    \b
    Examples:
      dlink-export runs/eegmat -o artefacts/eegmat --with-teacher
      dlink-export runs/eegmat -o artefacts/eegmat --target rpi4b --target nucleo-l4r5zi
      dlink-export braindecode:EEGNet --weights W.safetensors --data runs/eegmat -o artefacts/net
      dlink-export verify artefacts/eegmat --target nucleo-l4r5zi
      dlink-export inspect artefacts/eegmat
    """


@main.command("run", hidden=True)
@click.argument("source")
@click.option("-o", "--out", type=FOLDER, required=True, help="Artefact folder.")
@click.option(
    "-t", "--target", "targets", multiple=True,
    help="Board: chooses formats, checks operators and memory first. Repeat for several.",
)  # fmt: skip
@click.option(
    "--formats", default="", metavar="A,B", help="Make these formats; by default all that can be."
)
@click.option("--weights", type=FOLDER, help="Weights of a braindecode model or a factory.")
@click.option("--data", type=FOLDER, help="Windows: a run folder, a folder of windows, or .npz.")
@click.option("--signal", type=FOLDER, help="Signal contract, JSON or TOML, where --data has none.")
@click.option(
    "--model-args", "arguments", multiple=True, metavar="KEY=VALUE",
    help="Argument of the model's constructor; repeat for several.",
)  # fmt: skip
@click.option(
    "--arm", type=click.Choice(["distilled", "matched"]), default="distilled", show_default=True,
    help="Which student of a run.",
)  # fmt: skip
@click.option("--with-teacher", is_flag=True, help="Put the teacher's ONNX beside the student.")
@click.option(
    "--calibration", type=click.IntRange(8), default=512, show_default=True,
    help="Training windows that set the integer scales.",
)  # fmt: skip
@click.option(
    "--golden", type=click.IntRange(2), default=100, show_default=True,
    help="Windows of test subjects kept as golden vectors.",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["auto", "percentile", "minmax", "entropy", "mse"]),
    default="auto", show_default=True, help="How ranges are calibrated; auto climbs the ladder.",
)  # fmt: skip
@click.option(
    "--max-drop", type=click.FloatRange(0, 1), default=0.01, show_default=True,
    help="Balanced accuracy that int8 may lose on validation windows.",
)  # fmt: skip
@click.option(
    "--min-agreement", type=click.FloatRange(0, 1), default=0.95, show_default=True,
    help="Share of validation windows that int8 must decide like float.",
)  # fmt: skip
@click.option(
    "--rungs", default="calibration,equalisation,int16x8,finetune", show_default=True,
    metavar="A,B", help='Rungs of the ladder that may be climbed; "none" for none.',
)  # fmt: skip
@click.option(
    "--prefer", type=click.Choice(["speed", "balanced", "memory"]), default="balanced",
    show_default=True, help="What the C library is generated for.",
)  # fmt: skip
@click.option(
    "--hop", type=click.IntRange(1), metavar="SAMPLES",
    help="Give the C library a streaming interface: a window every so many samples.",
)  # fmt: skip
@click.option(
    "--include-preprocessing", "preprocessing", is_flag=True,
    help="Add the signal contract as a causal preprocessor: Python, ONNX, C.",
)  # fmt: skip
@click.option("--input-sfreq", type=click.FloatRange(1), help="Rate of the device's samples in Hz.")
@click.option(
    "--input-unit", type=click.Choice(["V", "mV", "uV", "counts"]), default="uV",
    show_default=True, help="Unit of the device's samples.",
)  # fmt: skip
@click.option(
    "--uv-per-count", type=click.FloatRange(0, min_open=True), metavar="UV",
    help="Microvolts of one count of the converter.",
)  # fmt: skip
@click.option(
    "--input-channels", default="", metavar="A,B", help="Electrodes in the device's order."
)
@click.option(
    "--filters", type=click.Choice(["iir", "fir"]), default="iir", show_default=True,
    help="iir: short delay. fir: the offline filters themselves, late.",
)  # fmt: skip
@click.option("--no-cache", is_flag=True, help="Do every step anew, and keep nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON, no tables.")
def run_command(source: str, out: Path, no_cache: bool, as_json: bool, **given: Any) -> None:
    """Export SOURCE into the folder OUT."""
    with user_errors("dlink-export"):
        from rich.console import Console

        from export.artefact import ParityFailureError, build
        from export.quantised import AccuracyGateError
        from export.store import Store, default_folder

        options = _options(given)
        console = Console(stderr=True)
        try:
            with console.status("exporting") as status:

                def say(text: str) -> None:
                    status.update(text)
                    if not console.is_terminal:
                        click.echo(f"  {text}", err=True)
                    elif text.startswith(("left out", "rung", "quantisation")):
                        console.print(f"  {text}", markup=False, highlight=False)

                opened = _open(source, given)
                store = Store(None if no_cache else default_folder())
                # Training prints its epochs: standard output is for the tables or the JSON alone.
                with contextlib.redirect_stdout(sys.stderr):
                    manifest = build(opened, out, options, say, store)
        except (ParityFailureError, AccuracyGateError) as err:
            click.echo(f"dlink-export: {err}", err=True)
            sys.exit(EXIT_FAILED)
        if as_json:
            click.echo(manifest.model_dump_json(indent=2))
            return
        from export.console import print_artefact

        print_artefact(out, manifest)
        ids = " ".join(f"-t {name}" for name in options.targets or ("host", "nucleo-l4r5zi"))
        click.echo(f"artefact: {out}   next: dlink-bench {out} {ids}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _options(given: dict[str, Any]) -> Options:
    from export.options import RUNGS, Options, PreprocessingOptions
    from targets.errors import InputError

    rungs = () if given["rungs"] == "none" else _names(given["rungs"])
    unknown = [name for name in rungs if name not in RUNGS]
    if unknown:
        raise InputError(
            "unknown rung", where="--rungs", value=", ".join(unknown), limit=", ".join(RUNGS)
        )
    preprocessing = None
    if given["preprocessing"]:
        preprocessing = PreprocessingOptions(
            given["input_sfreq"], given["input_unit"], given["uv_per_count"],
            _names(given["input_channels"]), given["filters"], given["hop"],
        )  # fmt: skip
    elif given["input_sfreq"] or given["input_channels"] or given["uv_per_count"]:
        raise InputError(
            "--input-sfreq, --input-channels and --uv-per-count describe the preprocessor's input",
            todo="Add --include-preprocessing.",
        )
    return Options(
        formats=_names(given["formats"]),
        targets=given["targets"],
        with_teacher=given["with_teacher"],
        n_calibration=given["calibration"],
        n_golden=given["golden"],
        method=given["method"],
        rungs=rungs,
        max_drop=given["max_drop"],
        min_agreement=given["min_agreement"],
        prefer=given["prefer"],
        hop=given["hop"],
        preprocessing=preprocessing,
    )


def _open(source: str, given: dict[str, Any]) -> Source:
    from export.sources import open_source

    return open_source(
        source, arm=given["arm"], weights=given["weights"], data=given["data"],
        signal=given["signal"], arguments=given["arguments"],
    )  # fmt: skip


@main.command("verify")
@click.argument("artefact", type=FOLDER)
@click.option(
    "-t", "--target", "targets", multiple=True,
    help="Check on this target too: a Cortex-M in the emulator, a Pi's runtimes on this machine.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, no table.")
def verify_command(artefact: Path, targets: tuple[str, ...], as_json: bool) -> None:
    """Check every checksum of ARTEFACT and run its parity again, from the folder alone."""
    with user_errors("dlink-export"):
        import json

        from export.console import print_checks, print_parity
        from export.contract import checks
        from export.manifest import load
        from export.stages import missing_runtimes, replay
        from export.untrusted import check_models
        from export.verify_target import verify_on

        found = load(artefact)
        check_models(artefact)
        rows = list(replay(artefact))
        for target in targets:
            rows += verify_on(artefact, target)
        signal = checks(artefact)
        if as_json:
            entries = [{"what": what, **result.as_dict()} for what, result in rows]
            click.echo(json.dumps([*entries, *signal], indent=2))
        else:
            click.echo(f"{len(found.files)} files: checksums agree")
            print_parity(rows)
            print_checks(signal)
            for name, todo in missing_runtimes(artefact).items():
                click.echo(f"not checked here: {name} ({todo})")
        failed = [what for what, result in rows if not result.passed]
        failed += [check["what"] for check in signal if check["passed"] is False]
        if failed:
            click.echo(f"dlink-export: parity failed: {', '.join(failed)}", err=True)
            sys.exit(EXIT_FAILED)
        if not as_json:
            click.echo(f"{artefact}: verified")


@main.command("inspect")
@click.argument("artefact", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def inspect_command(artefact: Path, as_json: bool) -> None:
    """Print what ARTEFACT holds, after checking its checksums."""
    with user_errors("dlink-export"):
        from export.manifest import load

        found = load(artefact)
        if as_json:
            click.echo(found.model_dump_json(indent=2))
            return
        from export.console import print_artefact

        print_artefact(artefact, found)


@main.command("schema")
def schema_command() -> None:
    """Print the JSON schema of manifest.json."""
    import json

    from export.manifest import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
