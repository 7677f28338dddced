"""Small real recordings in the formats people bring, and the small recipe of these tests."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import mne
import numpy as np

CH_NAMES = ("C3", "Cz", "C4", "Fz")
SFREQ = 250
CONSOLE_SCRIPT = Path(sys.executable).parent / "dlink-distill"

SIMULATED = """
name = "tiny"
seeds = [0]

[data]
source = "simulate"

[data.simulate]
n_subjects = 4
n_trials = 8
trial_seconds = 2.0
seed = 1

[signal]
ch_names = ["C3", "Cz", "C4", "Fz"]
seconds = 2.0
band = [0.5, 45.0]

[split]
kind = "cross_subject"
train = ["S00-S01"]
val = ["S02"]
test = ["S03"]

[teacher]
name = "labram"
n_layers = 1
epochs = 1
batch = 8

[student]
epochs = 1
batch = 8
"""


def with_data(table: str, text: str = SIMULATED) -> str:
    """The recipe `text` with another [data]."""
    return text[: text.index("[data]")] + table.strip() + "\n\n" + text[text.index("[signal]") :]


FILES = with_data(r'''
[data]
source = "files"
root = "$DLINK_DATA"
pattern = "S(?P<subject>\\d\\d)_(?P<label>[12])(_raw)?\\.(edf|fif)"
strip = ["EEG "]

[data.labels]
1 = "rest"
2 = "task"
''').replace('"S0', '"0').replace("-S0", "-0")  # fmt: skip


def recipe(folder: Path, changes: dict[str, str] | None = None, text: str = SIMULATED) -> Path:
    """Write the recipe `text` with the given passages replaced; each must stand in it once."""
    for old, new in (changes or {}).items():
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the recipe"
        text = text.replace(old, new)
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def noise(seconds: float = 6.0, n_chans: int = 4, seed: int = 0, sfreq: int = SFREQ) -> np.ndarray:
    """White noise of 20 microvolts, in volts."""
    rng = np.random.default_rng(seed)
    return 20e-6 * rng.standard_normal((n_chans, round(seconds * sfreq)))


def write_edf(path: Path, volts: np.ndarray, names=CH_NAMES, sfreq: int = SFREQ) -> Path:
    """EDF of one-second records, physical range +-3276.7 microvolts (Kemp et al. 1992)."""
    n, records = len(names), volts.shape[1] // sfreq
    fixed = [("0", 8), ("X", 80), ("X", 80), ("01.01.26", 8), ("00.00.00", 8)]
    fixed += [(str(256 * (n + 1)), 8), ("", 44), (str(records), 8), ("1", 8), (str(n), 4)]
    by_signal = [(names, 16), ([""] * n, 80), (["uV"] * n, 8), (["-3276.7"] * n, 8),
                 (["3276.7"] * n, 8), (["-32767"] * n, 8), (["32767"] * n, 8), ([""] * n, 80),
                 ([str(sfreq)] * n, 8), ([""] * n, 32)]  # fmt: skip
    header = "".join(text.ljust(width) for text, width in fixed)
    header += "".join(text.ljust(width) for texts, width in by_signal for text in texts)
    counts = np.round(volts[:, : records * sfreq] * 1e7).astype("<i2")
    samples = counts.reshape(n, records, sfreq).transpose(1, 0, 2)
    path.write_bytes(header.encode("ascii") + samples.tobytes())
    return path


def as_raw(volts: np.ndarray, names=CH_NAMES, sfreq: int = SFREQ) -> mne.io.RawArray:
    return mne.io.RawArray(volts, mne.create_info(list(names), sfreq, "eeg"), verbose="ERROR")


def write_fif(path: Path, volts: np.ndarray, names=CH_NAMES, sfreq: int = SFREQ) -> Path:
    """FIF in single precision: the format that can hold NaN."""
    as_raw(volts, names, sfreq).save(path, verbose="ERROR", overwrite=True)
    return path


def write_brainvision(path: Path, volts: np.ndarray, markers: list[tuple[str, int]]) -> Path:
    """BrainVision with (description, sample) markers; data as 32-bit floats in microvolts."""
    path.with_suffix(".eeg").write_bytes((volts.T * 1e6).astype("<f4").tobytes())
    channels = "\n".join(f"Ch{k}={name},,1,µV" for k, name in enumerate(CH_NAMES, 1))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\n"
        f"DataOrientation=MULTIPLEXED\nNumberOfChannels={len(volts)}\n"
        f"SamplingInterval={1e6 / SFREQ:g}\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n"
        f"[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    lines = "\n".join(
        f"Mk{k}=Stimulus,{name},{sample + 1},1,0" for k, (name, sample) in enumerate(markers, 1)
    )
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\n[Marker Infos]\n{lines}\n"
    )
    return path


def write_edf_plus(path: Path, volts: np.ndarray, names, sfreq: int, cues) -> Path:
    """EDF+ with (seconds, description) annotations, as mne and edfio export it."""
    raw = as_raw(volts, names, sfreq)
    onsets, texts = zip(*cues, strict=True)
    raw.set_annotations(mne.Annotations(onsets, 4.1, texts))
    mne.export.export_raw(path, raw, fmt="edf", overwrite=True, verbose="ERROR")
    return path


def write_gdf(path: Path, volts: np.ndarray, names, sfreq: int, cues) -> Path:
    """GDF 1.25 of one-second records of 16-bit samples with (sample, code) events in a table.

    Layout: Schlögl, arXiv cs/0608052, as mne reads it.
    """
    n, records = len(names), volts.shape[1] // sfreq
    length = 256 * (n + 1)
    fixed = b"GDF 1.25" + b"X X".ljust(80) + b"X".ljust(80) + b"2026010100000000"
    fixed += struct.pack("<q24x20xqIII", length, records, 1, 1, n)
    signals = b"".join(name.encode().ljust(16) for name in names) + b" " * 80 * n
    signals += b"uV".ljust(8) * n
    for kind, value in (("d", -3276.7), ("d", 3276.7), ("q", -32767), ("q", 32767)):
        signals += struct.pack(f"<{n}{kind}", *[value] * n)
    signals += b" " * 80 * n + struct.pack(f"<{n}i", *[sfreq] * n)
    signals += struct.pack(f"<{n}i", *[3] * n) + bytes(32 * n)  # 3: signed 16-bit
    counts = np.round(volts[:, : records * sfreq] * 1e7).astype("<i2")
    samples = counts.reshape(n, records, sfreq).transpose(1, 0, 2).tobytes()
    places, codes = zip(*cues, strict=True)
    table = struct.pack("<BBBBI", 1, sfreq & 255, sfreq >> 8, 0, len(cues))
    table += struct.pack(f"<{len(cues)}I", *(place + 1 for place in places))
    table += struct.pack(f"<{len(cues)}H", *codes)
    path.write_bytes(fixed + signals + samples + table)
    assert len(fixed + signals) == length
    return path


def write_dataset(folder: Path) -> Path:
    """Four subjects, two EDF files each, as the recipe FILES wants them."""
    for subject in range(4):
        for label in (1, 2):
            name = f"S{subject:02d}_{label}.edf"
            write_edf(
                folder / name, noise(seed=10 * subject + label), [f"EEG {c}" for c in CH_NAMES]
            )
    return folder
