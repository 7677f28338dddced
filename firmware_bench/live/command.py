"""The command `live`: options to a source and a run. Nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targets.errors import InputError, user_errors

if TYPE_CHECKING:
    from firmware_bench.artefact import Artefact
    from firmware_bench.live.stream import Source

_PATH = click.Path(path_type=Path)


@click.command(
    "live",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExample:  dlink-bench live artefacts/eegmat --replay Subject26_2.edf"
    "\n          dlink-bench live artefacts/eegmat --lsl headset --unit uV --seconds 60",
)
@click.argument("artefact", type=_PATH)
@click.option("--replay", type=_PATH, metavar="FILE", help="Decode a recording that MNE reads.")
@click.option("--lsl", metavar="NAME", help="Decode the LSL stream of this name (extra lsl).")
@click.option(
    "--brainflow", metavar="BOARD", help="Decode a board of BrainFlow's (extra brainflow)."
)
@click.option(
    "--board-param", "board_params", multiple=True, metavar="KEY=VALUE",
    help="Field of BrainFlow's input parameters, such as serial_port=/dev/ttyUSB0; repeat.",
)  # fmt: skip
@click.option(
    "--speed", default="1", show_default=True, metavar="1|N|max",
    help="Speed of the replay: N times its own, or as fast as it is decoded.",
)  # fmt: skip
@click.option(
    "--hop", "hop_ms", type=click.FloatRange(min=0, min_open=True), default=100.0,
    show_default=True, metavar="MS", help="From one decision to the next.",
)  # fmt: skip
@click.option(
    "--format", "fmt", metavar="FORMAT",
    help="Model file: int8.tflite, fp32.onnx, ...; by default the fastest on this machine.",
)  # fmt: skip
@click.option(
    "--kind", type=click.Choice(["iir", "fir"]),
    help="Causal filters; by default the artefact's own, else iir.",
)  # fmt: skip
@click.option(
    "--offline-preprocessing", "offline", is_flag=True,
    help="Replay only: MNE's zero-phase chain, as in training; decisions are the offline ones.",
)  # fmt: skip
@click.option(
    "--strip", multiple=True, metavar="TEXT",
    help='Text to drop from channel names ("EEG "), beside what the recipe drops; repeat.',
)  # fmt: skip
@click.option(
    "--ch-names", metavar="A,B,...", help="Names of the stream's channels, where it has none."
)
@click.option(
    "--unit", type=click.Choice(["V", "mV", "uV"]), help="Unit of a stream that states none."
)
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), metavar="N",
    help="Stop after so much signal.",
)  # fmt: skip
@click.option("-o", "--out", "output", type=_PATH, help="Write every decision and the summary.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, and no more.")
def live(artefact: Path, output: Path | None, as_json: bool, **given: Any) -> None:
    """Decode a stream with an ARTEFACT on this machine, and measure the decoding.

    One of --replay, --lsl and --brainflow says which stream. It is held against the model's signal
    contract first: every difference is named, and mended where that is possible. Ctrl-C ends the
    run with its summary.
    """
    with user_errors("dlink-bench live"):
        import json

        from firmware_bench import artefact as artefacts
        from firmware_bench import console as tables
        from firmware_bench.live import run as running
        from firmware_bench.live.view import print_summary
        from targets.files import check_writable

        if output is not None:
            check_writable(output)
        opened = artefacts.load(artefact)
        strip = (*running.strip_of(opened), *given["strip"])
        options = running.Options(
            hop_ms=given["hop_ms"], format=given["fmt"], kind=given["kind"],
            seconds=given["seconds"], strip=strip, unit=given["unit"], keep=output is not None,
        )  # fmt: skip
        console = tables.console()
        found = running.run(
            opened, open_source(opened, given, strip), options, console, quiet=as_json
        )
        if output is not None:
            running.write(output, found)
        if as_json:
            click.echo(json.dumps(found.summary, indent=2))
            return
        print_summary(console, found.summary)
        if output is not None:
            console.print(f"decisions: {output}", soft_wrap=True, highlight=False)


def open_source(artefact: Artefact, given: dict[str, Any], strip: tuple[str, ...]) -> Source:
    """The one source that the options name.

    Raises
    ------
    InputError
        None or several of them, options of another one, a source that cannot be opened.
    """
    named = [name for name in ("replay", "lsl", "brainflow") if given[name] is not None]
    if len(named) != 1:
        raise InputError(
            "one source is needed", value=", ".join(f"--{name}" for name in named) or "none",
            limit="one of --replay, --lsl, --brainflow",
        )  # fmt: skip
    _refuse_strangers(named[0], given)
    ch_names = tuple(filter(None, (given["ch_names"] or "").split(",")))
    if given["lsl"] is not None:
        from firmware_bench.live.lsl import Lsl

        return Lsl(given["lsl"], ch_names=ch_names)
    if given["brainflow"] is not None:
        from firmware_bench.live.brainflow import BrainFlow

        return BrainFlow(given["brainflow"], _pairs(given["board_params"]), ch_names=ch_names)
    from firmware_bench.live.replay import Replay
    from firmware_bench.live.run import signal_of

    offline = signal_of(artefact) if given["offline"] else None
    return Replay(given["replay"], speed=_speed(given["speed"]), offline=offline, strip=strip)


def _refuse_strangers(source: str, given: dict[str, Any]) -> None:
    """Options that mean nothing to this source: silence would look like obedience."""
    belongs = {
        "board_params": ("--board-param", ("brainflow",), ()),
        "speed": ("--speed", ("replay",), "1"),
        "offline": ("--offline-preprocessing", ("replay",), False),
        "ch_names": ("--ch-names", ("lsl", "brainflow"), None),
    }
    for key, (option, sources, default) in belongs.items():
        if source not in sources and given[key] != default:
            raise InputError(f"{option} does not belong to --{source}", where=option)
    if given["offline"] and given["kind"] is not None:
        raise InputError("the offline chain has filters of its own", where="--kind")


def _speed(text: str) -> float:
    try:
        speed = float("inf") if text == "max" else float(text)
    except ValueError:
        speed = float("nan")
    if not speed > 0:
        raise InputError("speed is no positive number", where="--speed", value=text)
    return speed


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InputError(
                "parameter is not KEY=VALUE", where="--board-param", value=text,
                todo="Write --board-param serial_port=/dev/ttyUSB0 .",
            )  # fmt: skip
        found[key] = value
    return found
