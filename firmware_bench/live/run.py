"""A whole live run: check the stream, decode it, tell what it cost."""

from __future__ import annotations

import contextlib
import datetime
import signal as signals
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from distill.signal import SignalSpec
from firmware_bench import environment
from firmware_bench.artefact import Artefact
from firmware_bench.live.chain import Kind, build
from firmware_bench.live.contract import check
from firmware_bench.live.decode import Decoder, hop_samples
from firmware_bench.live.feed import Feed
from firmware_bench.live.model import choose
from firmware_bench.live.record import NS_PER_MS, Record
from firmware_bench.live.stream import Source
from firmware_bench.live.view import View
from targets.files import sha256

#: A stream that sends nothing for so long has ended.
SILENT_SECONDS = 10.0


@dataclass(frozen=True)
class Options:
    """How to decode.

    Attributes
    ----------
    hop_ms : from one decision to the next.
    format : model file, such as "int8.tflite"; None: the fastest here.
    kind : causal filters, "iir" or "fir"; None: the artefact's, else "iir".
    seconds : of signal to decode; None: to the end, or to Ctrl-C.
    strip, unit : what the stream's channel names and unit need (:func:`check`).
    keep : keep every decision.
    """

    hop_ms: float = 100.0
    format: str | None = None
    kind: Kind | None = None
    seconds: float | None = None
    strip: tuple[str, ...] = ()
    unit: str | None = None
    keep: bool = False


@dataclass(frozen=True)
class Found:
    """The summary, and the decisions if they were to be kept."""

    summary: dict[str, Any]
    decisions: list[dict[str, Any]]


def signal_of(artefact: Artefact) -> SignalSpec:
    """The contract of an artefact."""
    return SignalSpec(**artefact.manifest["signal"])


def strip_of(artefact: Artefact) -> tuple[str, ...]:
    """What the recipe dropped from channel names; nothing where no recipe made the artefact."""
    recipe = artefact.manifest.get("provenance", {}).get("recipe") or {}
    return tuple(recipe.get("data", {}).get("strip", ()))


def run(
    artefact: Artefact, source: Source, options: Options, console: Console, *, quiet: bool = False
) -> Found:
    """Decode until the stream ends, `options.seconds` are over, or SIGINT or SIGTERM comes.

    Raises
    ------
    InputError
        Illegal hop or format, a stream that does not fit, a device that fails.
    """
    with contextlib.closing(source):
        return _run(artefact, source, options, console, quiet)


def _run(
    artefact: Artefact, source: Source, options: Options, console: Console, quiet: bool
) -> Found:
    contract, info = signal_of(artefact), source.info
    hop = hop_samples(options.hop_ms, contract)
    entrance = check(info, contract, strip=options.strip, unit=options.unit)
    chain = build(artefact, contract, info, entrance, options.kind)
    model = choose(artefact, (contract.n_chans, contract.n_times), options.format)
    if not quiet:
        origin = f"{chain.facts.kind}, {chain.facts.origin}"
        for text in (*entrance.differences, f"preprocessing: {origin}", f"model: {model.file}"):
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    decoder = Decoder(chain, model, contract, sfreq=info.sfreq, hop=hop)
    labels = tuple(artefact.manifest["labels"])
    record = Record(labels, options.hop_ms, keep=options.keep)
    before, ended = environment.read_state(), "stream ended"
    with (
        Feed(source) as feed,
        _stopped_by_signals(feed) as stopped,
        View(console, record, decoder.repair.counts, quiet=quiet) as view,
    ):
        heard = time.monotonic()
        for chunk in feed:
            for decision in decoder.push(chunk):
                record.add(decision)
                view.show(decision)
            heard = time.monotonic() if chunk.n else heard
            if time.monotonic() - heard > SILENT_SECONDS:
                ended = f"no sample for {SILENT_SECONDS:g} s"
                break
            if options.seconds is not None and decoder.stream_seconds >= options.seconds:
                ended = "time is over"
                break
    decoder.repair.counts.overrun += feed.lost
    summary = record.summary(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        artefact={
            "name": artefact.manifest["name"],
            "manifest_sha256": sha256(artefact.path / "manifest.json"),
        },
        model={key: getattr(model, key) for key in ("file", "format", "runtime", "trial_ms")},
        stream={
            **{key: value for key, value in asdict(info).items() if key != "units"},
            "paced": source.paced,
            "differences": list(entrance.differences),
        },
        chain=chain.facts,
        counts=decoder.repair.counts,
        seen_by=decoder.repair.seen_by,
        busy_seconds=decoder.busy_ns / NS_PER_MS / 1e3,
        stream_seconds=decoder.stream_seconds,
        environment=environment.assess(before, environment.read_state()),
        ended="interrupted" if stopped else ended,
    )
    return Found(summary, record.decisions)


@contextlib.contextmanager
def _stopped_by_signals(feed: Feed) -> Iterator[list[int]]:
    """SIGINT and SIGTERM end the feed, so that the summary still comes; yields those that came."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # only the main thread may set handlers
        return

    def stop(number: int, frame: object) -> None:
        came.append(number)
        feed.stop()

    old = {one: signals.signal(one, stop) for one in (signals.SIGINT, signals.SIGTERM)}
    try:
        yield came
    finally:
        for one, handler in old.items():
            signals.signal(one, handler)


def write(path: Path, found: Found) -> None:
    """Write live.json: the summary's fields at the top and every decision below `each`."""
    from targets.files import write_json

    write_json(path, found.summary | {"each": found.decisions})
