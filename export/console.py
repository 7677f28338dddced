"""Tables of dlink-export, for people; the same figures stand in the artefact as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from export.formats import by_reason
from targets.files import read_json

if TYPE_CHECKING:
    from export.manifest import Manifest
    from export.parity import ParityResult


def _print(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for k, column in enumerate(columns):
        table.add_column(column, justify="right" if k else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def print_parity(rows: list[tuple[str, ParityResult]]) -> None:
    """Table of parity results."""
    entries = [{"what": what, **result.as_dict()} for what, result in rows]
    _print_parity(entries)


def _print_parity(rows: list[dict[str, Any]]) -> None:
    shown = []
    for row in rows:
        figures = row["parity"]
        snr = figures["snr_db"]
        steps = row.get("lsb_histogram")
        shown.append(
            [row["what"], str(figures["n"]), f"{figures['max_abs']:.3g}", f"{figures['rmse']:.3g}",
             f"{figures['cosine']:.6f}", "equal" if snr is None else f"{snr:.1f}",
             f"{figures['top1_agreement']:.3f}", _steps(steps) if steps else "",
             "passed" if row["passed"] else "; ".join(row["failed"])]
        )  # fmt: skip
    columns = ["what ran", "windows", "max abs", "RMSE", "cosine", "SNR dB", "top-1",
               "steps off: count", "verdict"]  # fmt: skip
    _print("parity on the golden vectors", columns, shown)


def print_checks(checks: list[dict[str, Any]]) -> None:
    """Table of the preprocessor's forms; nothing without one."""
    words = {True: "passed", False: "FAILED", None: "not run here"}
    rows = [
        [c["what"], f"{c['error']:.2g}" if "error" in c else "",
         f"{c['bound']:.2g}" if "bound" in c else "", words[c["passed"]]]
        for c in checks
    ]  # fmt: skip
    if rows:
        _print("preprocessing on its golden samples", ["form", "error", "bound", "verdict"], rows)


def _steps(histogram: dict[str, int]) -> str:
    """ "0: 190, 1: 10": by distance from 0, both signs together."""
    found: dict[int, int] = {}
    for step, count in histogram.items():
        found[abs(int(step))] = found.get(abs(int(step)), 0) + count
    return ", ".join(f"{step}: {found[step]}" for step in sorted(found))


def print_artefact(folder: Path, manifest: Manifest) -> None:
    """Files, parity, accuracy by format, quantisation, memory."""
    signal = manifest.signal
    _print(
        f"{manifest.name}: {signal.n_chans} electrodes, {signal.seconds:g} s at "
        f"{signal.sfreq:g} Hz -> {', '.join(manifest.labels)}",
        ["file", "bytes", "sha256"],
        [[name, f"{entry.bytes:,}", entry.sha256[:12]] for name, entry in _files(manifest)],
    )
    _print_parity(read_json(folder / "parity.json", "parity"))
    formats = manifest.metrics.get("formats") or {}
    if formats:
        seed = manifest.metrics.get("selected_seed")
        _print(
            "accuracy by format on the test subjects" + ("" if seed is None else f", seed {seed}"),
            ["format", "balanced accuracy", "drop", "same decision as torch"],
            [
                [name, f"{s['balanced_accuracy']:.3f}", f"{s['accuracy_drop']:+.4f}",
                 f"{s['top1_agreement']:.3f}"]
                for name, s in formats.items()
            ],
        )  # fmt: skip
    _print_quantisation(folder)
    print_checks((manifest.preprocessing or {}).get("checks", []))
    _print_notes(manifest)


def _files(manifest: Manifest) -> list[tuple[str, Any]]:
    """Every file; the many of the C library as one line."""
    from export.manifest import FileEntry

    rows: list[tuple[str, Any]] = []
    library: list[tuple[str, Any]] = []
    for name, entry in manifest.files.items():
        (library if name.startswith("c/") else rows).append((name, entry))
    if library:
        size = sum(entry.bytes for _, entry in library)
        digest = next((e.sha256 for n, e in library if n == "c/model.c"), library[0][1].sha256)
        name = f"c/ ({len(library)} files; checksum of model.c)"
        rows.append((name, FileEntry(sha256=digest, bytes=size)))
    return rows


def _print_quantisation(folder: Path) -> None:
    path = folder / "quantisation.json"
    if not path.exists():
        return
    report = read_json(path, "quantisation")
    gate = report.get("gate")
    if not gate:
        return
    rows = [
        [row["method"], *_score(row), "passed" if row["passed"] else "not enough"]
        for row in report["comparisons"]
    ]
    windows = f"on {gate['windows']} validation windows"
    columns = ["drop", "same decision", "RMSE of logits", "verdict"]
    _print(f"calibration methods, int8 {windows}", ["method", *columns], rows)
    rungs = [
        [f"{row['name']}: {row['what']}", *_score(row["after"]), _verdict(row)]
        for row in report["rungs"]
    ]
    if rungs:
        _print(f"quantisation {windows}", ["rung", *columns], rungs)


def _score(row: dict[str, Any]) -> list[str]:
    drop = row["drop"]
    return ["" if drop is None else f"{drop:+.4f}", f"{row['agreement']:.3f}", f"{row['rmse']:.4f}"]


def _verdict(row: dict[str, Any]) -> str:
    if row["passed"]:
        return "passed"
    return "kept, not enough" if row["kept"] else "taken back"


def _print_notes(manifest: Manifest) -> None:
    console = Console(highlight=False)
    if manifest.memory is not None:
        memory = manifest.memory
        console.print(
            f"C library: {memory.ram_bytes:,} B RAM (arena, input and output), "
            f"{memory.weight_bytes:,} B constants in flash (counted)"
        )
    if manifest.preprocessing is not None:
        told = manifest.preprocessing
        console.print(
            f"preprocessing: causal {told['kind'].upper()} from {told['input_sfreq']:g} Hz, delay "
            f"{1000 * told['delay_seconds']:.0f} ms"
        )
    for names, reason in by_reason(manifest.left_out):
        console.print(f"left out {names}: {reason}", soft_wrap=True, markup=False)
