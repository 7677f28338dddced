"""EEG files, through MNE, to windows that obey a :class:`~distill.signal.SignalSpec`."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.signal import SignalSpec
from distill.windows import Windows
from targets.errors import InputError

if TYPE_CHECKING:
    import mne

    from distill.recipe.data import Cutting

READABLE = (".edf", ".bdf", ".gdf", ".fif", ".fif.gz", ".vhdr", ".set", ".cnt")
# Older 10-20 names and their present ones: either may stand in a file.
ALIASES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
# A window whose standard deviation is below this in volts carries no EEG: amplifiers' own noise
# is about 0.2 µV, a disconnected or saturated input is exactly constant.
FLAT_VOLTS = 1e-9


def _edf_bytes(path: Path) -> int | None:
    """Bytes that an EDF or BDF header promises, or None where it does not say (streaming, -1).

    Layout: EDF specification (Kemp et al. 1992), ASCII fields of fixed width.
    """
    with path.open("rb") as handle:
        head = handle.read(256)
        if len(head) < 256:
            return 257  # more than there is
        try:
            header, records, signals = int(head[184:192]), int(head[236:244]), int(head[252:256])
            fields = handle.read(signals * 256)
            samples = fields[signals * 216 : signals * 224]
            total = sum(int(samples[8 * k : 8 * k + 8]) for k in range(signals))
        except ValueError:
            return None
    width = 3 if path.suffix.lower() == ".bdf" else 2
    return None if records < 0 else header + records * total * width


@contextlib.contextmanager
def reading(fault: str, where: object, todo: str) -> Iterator[None]:
    """Turn whatever a reader raises into an :class:`InputError`, and keep its warnings quiet.

    Readers of many makers' files, and what downloads them, raise many types when a file is not
    what it should be. All of them are the file's fault.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as err:
        message = str(err).rstrip(".")
        raise InputError(
            f"{fault}: {type(err).__name__}: {message}", where=where, todo=todo
        ) from err


def read_raw(path: Path) -> mne.io.BaseRaw:
    """Open one recording of any format that MNE reads, without loading its samples.

    Raises
    ------
    InputError
        The file is missing, truncated or not EEG.
    """
    import mne

    if not path.exists():
        raise InputError("recording not found", where=path, todo="Check the path or the pattern.")
    if not path.name.lower().endswith(READABLE):
        raise InputError(
            "file format is not known", where=path, value=path.suffix, limit=" ".join(READABLE)
        )
    if path.suffix.lower() in (".edf", ".bdf"):
        promised, size = _edf_bytes(path), path.stat().st_size
        if promised is not None and size < promised:
            raise InputError(
                "recording is truncated",
                where=path,
                value=f"{size} bytes",
                limit=f"{promised} as its header says",
                todo="Copy the file again from its source.",
            )
    todo = "Check that the file is whole and of the format its name says."
    with reading("recording cannot be read", path, todo):
        return mne.io.read_raw(path, preload=False, verbose="ERROR")


def with_events(raw: mne.io.BaseRaw, path: Path) -> mne.io.BaseRaw:
    """The recording with the events of a file of MNE's as annotations named by their numbers.

    Raises
    ------
    InputError
        The file is missing or holds no events.
    """
    import mne

    if not path.exists():
        raise InputError("events file not found", where=path, todo="Correct [data] events_file.")
    with reading("events cannot be read", path, "Check that the file is whole."):
        events = mne.read_events(path, verbose="ERROR")
    names = {int(code): str(code) for code in np.unique(events[:, 2])}
    found = mne.annotations_from_events(
        events, raw.info["sfreq"], names, first_samp=raw.first_samp,
        orig_time=raw.info["meas_date"], verbose="ERROR",
    )  # fmt: skip
    return raw.set_annotations(found, verbose="ERROR")


def _plain(name: str, strip: tuple[str, ...]) -> str:
    """A channel name without the decorations of recorders: "EEG Fp1-REF." -> "Fp1"."""
    for piece in strip:
        name = name.replace(piece, "")
    name = name.strip(" .")
    return ALIASES.get(name.upper(), name)


def pick_channels(
    raw: mne.io.BaseRaw, ch_names: tuple[str, ...], strip: tuple[str, ...], where: object
) -> list[str]:
    """Names in `raw` of the wanted electrodes, in their order; refuse if any is absent."""
    present = {_plain(name, strip).upper(): name for name in raw.ch_names}
    wanted = [ALIASES.get(name.upper(), name).upper() for name in ch_names]
    absent = [name for name, key in zip(ch_names, wanted, strict=True) if key not in present]
    if absent:
        raise InputError(
            f"channels {', '.join(absent)} are not in the recording",
            where=where,
            limit=", ".join(raw.ch_names),
            todo="Correct ch_names, or list the text to drop from names in [data] strip.",
        )
    return [present[key] for key in wanted]


def reference_index(signal: SignalSpec) -> int:
    """Place of the reference electrode among the channels, under its present or older name.

    Raises
    ------
    InputError
        It is none of the electrodes.
    """
    names = [ALIASES.get(name.upper(), name).upper() for name in signal.ch_names]
    wanted = signal.reference.upper()
    wanted = ALIASES.get(wanted, wanted)
    if wanted not in names:
        raise InputError(
            "reference is none of the electrodes",
            where="[signal] reference",
            value=signal.reference,
            limit=", ".join(("as-recorded", "average", *signal.ch_names)),
        )
    return names.index(wanted)


def _refuse_spoiled(raw: mne.io.BaseRaw, where: object) -> None:
    """Refuse channels without a signal, by name."""
    data = raw.get_data()
    bad = [name for name, row in zip(raw.ch_names, data, strict=True) if not np.isfinite(row).all()]
    if bad:
        raise InputError(
            f"channels {', '.join(bad)} hold NaN or infinite samples",
            where=where,
            todo="Repair or leave out the recording.",
        )
    flat = [name for name, row in zip(raw.ch_names, data, strict=True) if row.std() < FLAT_VOLTS]
    if flat:
        raise InputError(
            f"channels {', '.join(flat)} are flat",
            where=where,
            value="standard deviation below 1 nV",
            todo="Repair or leave out the recording: the electrode was not connected.",
        )


def prepare(
    raw: mne.io.BaseRaw, signal: SignalSpec, *, strip: tuple[str, ...] = (), where: object = ""
) -> mne.io.BaseRaw:
    """Pick, filter, resample and reference a recording as `signal` says; still in volts.

    Filters are MNE's zero-phase FIR defaults, applied before resampling at the recording's own
    rate. The causal form for devices is another matter and is stated as such.
    """
    rate = raw.info["sfreq"]
    need = signal.sfreq if signal.band is None else 2 * signal.band[1]
    if rate < need or (signal.band is not None and rate == need):
        raise InputError(
            "sampling rate is too low for the signal contract",
            where=where,
            value=f"{rate:g} Hz",
            limit=f"{'>=' if signal.band is None else '>'} {need:g} Hz",
            todo="Use a recording at a higher rate, or lower the band in [signal].",
        )
    picks = pick_channels(raw, signal.ch_names, strip, where)
    raw = raw.copy().pick(picks).reorder_channels(picks)
    with reading("samples cannot be read", where, "Check that the recording is whole."):
        raw.load_data(verbose="ERROR")
    _refuse_spoiled(raw, where)
    if signal.band is not None:
        raw.filter(*signal.band, verbose="ERROR", picks="all")
    if signal.notch is not None and signal.notch < raw.info["sfreq"] / 2:
        raw.notch_filter(signal.notch, verbose="ERROR", picks="all")
    if raw.info["sfreq"] != signal.sfreq:
        raw.resample(signal.sfreq, verbose="ERROR")
    if signal.reference == "average":
        raw.apply_function(lambda x: x - x.mean(axis=0), picks="all", channel_wise=False)
    elif signal.reference != "as-recorded":
        index = reference_index(signal)
        raw.apply_function(lambda x: x - x[index], picks="all", channel_wise=False)
    return raw


def cut(
    raw: mne.io.BaseRaw, signal: SignalSpec, starts: NDArray[np.int64], where: object = ""
) -> NDArray[np.float32]:
    """Windows (n, n_chans, n_times) of a prepared recording, in the contract's units.

    Parameters
    ----------
    starts : first sample of each window, at the contract's rate.
    """
    data = raw.get_data() * signal.gain
    n_times = signal.n_times
    keep = starts[(starts >= 0) & (starts + n_times <= data.shape[1])]
    if len(keep) == 0:
        raise InputError(
            "recording is shorter than one window",
            where=where,
            value=f"{data.shape[1] / signal.sfreq:g} s",
            limit=f">= {signal.seconds:g} s",
            todo="Leave the recording out, or shorten the window in [signal] seconds.",
        )
    return np.stack([data[:, s : s + n_times].astype(np.float32) for s in keep])


def _event_windows(
    raw: mne.io.BaseRaw,
    signal: SignalSpec,
    labels: tuple[str, ...],
    events: dict[str, str],
    offset: float,
    where: object,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First samples and classes of the windows that follow the wanted annotations."""
    import mne

    described = sorted({str(a["description"]) for a in raw.annotations})
    wanted = {name: labels.index(events[name]) for name in described if name in events}
    if not wanted:
        raise InputError(
            "recording has none of the wanted events",
            where=where,
            value=", ".join(described) or "none",
            limit=", ".join(events),
            todo="Correct [data.events].",
        )
    # events_from_annotations knows how onsets relate to the first sample in every file format.
    found, _ = mne.events_from_annotations(raw, event_id=wanted, verbose="ERROR")
    starts = found[:, 0] - raw.first_samp + round(offset * signal.sfreq)
    return starts.astype(np.int64), found[:, 2].astype(np.int64)


def windows_of_recording(  # noqa: PLR0913 - each is a key of [data]
    raw: mne.io.BaseRaw,
    signal: SignalSpec,
    labels: tuple[str, ...],
    *,
    subject: str,
    session: str = "0",
    label: str | None = None,
    events: dict[str, str] | None = None,
    offset: float = 0.0,
    stride: float | None = None,
    repeats: int = 1,
    strip: tuple[str, ...] = (),
    where: object = "",
) -> Windows:
    """Cut one recording into labelled windows.

    Parameters
    ----------
    label : class of the whole recording, cut every `stride` seconds (default: no overlap).
    events : or annotation description -> class; `repeats` windows each, the first `offset` seconds
        after its onset, `stride` seconds apart.

    Raises
    ------
    InputError
        Absent channels, NaN, flat channels, too low a rate, too short, no event.
    """
    raw = prepare(raw, signal, strip=strip, where=where)
    step = round((stride or signal.seconds) * signal.sfreq)
    if label is not None:
        starts = np.arange(0, raw.n_times - signal.n_times + 1, step, dtype=np.int64)
        classes = np.full(len(starts), labels.index(label), dtype=np.int64)
    else:
        starts, classes = _event_windows(raw, signal, labels, events or {}, offset, where)
        starts = (starts[:, None] + step * np.arange(repeats)).reshape(-1)
        classes = np.repeat(classes, repeats)
        fits = (starts >= 0) & (starts + signal.n_times <= raw.n_times)
        starts, classes = starts[fits], classes[fits]
    x = cut(raw, signal, starts, where)
    n = len(x)
    return Windows(x, classes[:n], np.full(n, subject), np.full(n, session), labels, signal)


def windows_by_table(
    raw: mne.io.BaseRaw,
    table: Cutting,
    signal: SignalSpec,
    groups: dict[str, str],
    where: object,
) -> Windows:
    """Cut one recording as a recipe's [data] says; its channels are renamed in place.

    Parameters
    ----------
    groups : what is known of the recording: "subject", and where known "session", "label", "run".

    Raises
    ------
    InputError
        As :func:`windows_of_recording`, and where no class is named for this recording.
    """
    present = {old: new for old, new in table.rename.items() if old in raw.ch_names}
    try:
        raw.rename_channels(present, verbose="ERROR")
    except ValueError as err:
        raise InputError(
            f"channels cannot be renamed: {err}", where=where, todo="Correct [data.rename]."
        ) from None
    events = table.events_of(groups)
    if table.events and not events:
        raise InputError(
            f"no event has a class in recordings whose {table.events_by} is "
            f"{groups.get(table.events_by, '')!r}",
            where=where,
            limit=", ".join(table.events),
            todo="Name it in [data.events], or leave these recordings out.",
        )
    return windows_of_recording(
        raw, signal, table.classes, subject=groups["subject"],
        session=groups.get("session", "0"), label=table.label_of(groups, where), events=events,
        offset=table.offset, stride=table.stride, repeats=table.repeats, strip=table.strip,
        where=where,
    )  # fmt: skip
