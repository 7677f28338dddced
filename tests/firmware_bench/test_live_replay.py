"""Replayed recordings: decisions are those of the same windows cut offline, bit for bit."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from live_rig import HOP_MS, RECORDED, SIGNAL, STRIP, artefact, recording
from rich.console import Console

from distill.recordings import cut, pick_channels, prepare, read_raw
from distill.signal import SignalSpec
from export.preprocess import Preprocessor, design
from export.preprocess.streaming import Streaming
from export.runtimes import OnnxModel
from firmware_bench import artefact as artefacts
from firmware_bench.live import model as models
from firmware_bench.live.replay import Replay
from firmware_bench.live.run import Options, run
from targets.errors import InputError

DATA = Path(os.environ.get("DLINK_DATA", Path(__file__).parents[2] / "../shared/data"))
EEGMAT = DATA / "eegmat" / "Subject26_2.edf"


def decode(folder, source, **options):
    options = Options(hop_ms=HOP_MS, strip=STRIP, keep=True, **options)
    return run(artefacts.load(folder), source, options, Console(), quiet=True)


def logits(found):
    return np.array([one["logits"] for one in found.decisions], np.float32)


def offline(folder, path, signal, strip, hop):
    """Logits of the windows that the offline chain cuts."""
    raw = prepare(read_raw(path), signal, strip=strip)
    windows = cut(raw, signal, np.arange(0, raw.n_times - signal.n_times + 1, hop))
    return OnnxModel(folder / "student.fp32.onnx").run(windows)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    return artefact(folder / "artefact"), recording(folder / "a.edf")


@pytest.mark.parametrize("speed", [float("inf"), 30.0])
def test_offline_preprocessing_gives_the_offline_logits(small, speed):
    folder, path = small
    source = Replay(path, speed=speed, offline=SIGNAL, strip=STRIP)
    found = decode(folder, source)
    expected = offline(folder, path, SIGNAL, STRIP, hop=5)
    assert found.summary["samples"]["overrun"] == 0
    assert np.array_equal(logits(found), expected)
    assert len(expected) == 101
    assert [one["label"] for one in found.decisions] == [
        ("rest", "arithmetic")[k] for k in expected.argmax(axis=1)
    ]


def test_the_causal_chain_gives_what_it_gives_in_one_piece(small):
    folder, path = small
    found = decode(folder, Replay(path, speed=float("inf")))
    raw = read_raw(path)
    chain = Streaming(design(SIGNAL, input_sfreq=200.0, input_unit="uV").to_dict())
    microvolts = raw.get_data(pick_channels(raw, SIGNAL.ch_names, STRIP, path)) * 1e6
    eeg = chain.push(microvolts)
    starts = range(0, eeg.shape[1] - SIGNAL.n_times + 1, 5)
    windows = np.stack([eeg[:, s : s + SIGNAL.n_times] for s in starts])
    expected = OnnxModel(folder / "student.fp32.onnx").run(windows)
    assert np.array_equal(logits(found), expected)
    facts = found.summary["preprocessing"]
    assert (facts["origin"], facts["kind"], facts["note"]) == (
        "designed here", "iir", "the artefact has none",
    )  # fmt: skip
    assert facts["delay_seconds"] > 0.005
    settled = [one["start"] / SIGNAL.sfreq >= facts["settle_seconds"] for one in found.decisions]
    assert [one["settled"] for one in found.decisions] == settled
    assert 0 < found.summary["unsettled"] == settled.count(False)


def test_the_artefacts_own_chain_serves_every_device_of_its_rate(small, tmp_path):
    from export import manifest

    _, path = small
    folder = artefact(tmp_path / "own")
    own = design(SIGNAL, input_sfreq=200.0, input_unit="counts", uv_per_count=0.1, kind="fir",
                 input_ch_names=("Cz", "C3", "Pz", "T7"))  # fmt: skip
    own.write(folder / "preprocessing.json")
    fields = manifest.Manifest.model_validate_json((folder / "manifest.json").read_text())
    files = manifest.files_of(folder)
    manifest.write(fields.model_copy(update={"files": files}), folder)
    found = decode(folder, Replay(path, speed=float("inf")))
    facts = found.summary["preprocessing"]
    assert (facts["origin"], facts["definition"]) == ("artefact", own.hash)
    same = decode(small[0], Replay(path, speed=float("inf")), kind="fir")
    assert np.array_equal(logits(found), logits(same))
    assert Preprocessor.read(folder / "preprocessing.json") == own
    other = decode(folder, Replay(path, speed=float("inf")), kind="iir")
    assert other.summary["preprocessing"]["note"] == "the artefact's is fir for 200 Hz"


def test_a_paced_replay_keeps_time_and_misses_no_deadline(small):
    folder, path = small
    found = decode(folder, Replay(path, speed=4.0)).summary
    assert found["stream"]["seconds"] == 6.0
    assert found["decisions"] == 101
    assert found["deadline_misses"] == 0
    assert found["times_ms"]["latency"]["count"] == 101
    assert found["times_ms"]["hop"]["count"] == 100
    assert 0 < found["times_ms"]["inference"]["median"] < found["times_ms"]["latency"]["median"]
    assert 0 < found["real_time_factor"] < 1
    assert found["evidence"] == "measured"
    assert found["environment"]["description"]


def test_a_machine_that_is_too_slow_loses_samples_and_says_so(small, monkeypatch):
    class Slow(OnnxModel):
        def run(self, windows):
            time.sleep(0.02)
            return super().run(windows)

    folder, path = small
    monkeypatch.setattr(models, "OnnxModel", Slow)
    found = decode(folder, Replay(path, speed=40.0)).summary
    # 6 s of signal in 0.15 s, and a queue of 2 s.
    assert found["samples"]["overrun"] >= 0.25 * 1200
    assert found["deadline_misses"] > 0
    assert found["decisions"] < 101
    assert found["samples"]["dropped"] == 0


@pytest.mark.parametrize(
    ("names", "sfreq", "unit", "words"),
    [
        (("EEG T3-REF", "EEG Cz-REF"), 200, "uV", "channels C3 are not"),
        (RECORDED, 50, "uV", "too low"),
        (RECORDED, 200, "mmHg", "unit of its channels is not stated"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(small, tmp_path, names, sfreq, unit, words):
    path = recording(tmp_path / "b.edf", 2, sfreq, names, unit)
    with pytest.raises(InputError, match=words):
        decode(small[0], Replay(path))


def test_a_recording_in_an_unknown_unit_may_be_told(small, tmp_path):
    path = recording(tmp_path / "b.edf", unit="steps")
    told = decode(small[0], Replay(path, speed=float("inf")), unit="uV")
    known = decode(small[0], Replay(small[1], speed=float("inf")))
    np.testing.assert_allclose(logits(told), logits(known), rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not EEGMAT.exists(), reason="no data")
def test_a_real_recording_at_a_hop_of_100_ms(tmp_path):
    ten_twenty = "Fp1 Fp2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T7 T8 P7 P8 Fz Cz Pz"
    names = tuple(ten_twenty.split())
    signal = SignalSpec(ch_names=names, sfreq=200.0, n_times=800, band=(0.5, 45.0), scale=100.0)
    folder = artefact(tmp_path / "artefact", signal, strip=("EEG ",))
    source = Replay(EEGMAT, speed=float("inf"), offline=signal, strip=("EEG ",))
    options = Options(hop_ms=100.0, strip=("EEG ",), keep=True)
    found = run(artefacts.load(folder), source, options, Console(), quiet=True)
    expected = offline(folder, EEGMAT, signal, ("EEG ",), hop=20)
    assert np.array_equal(logits(found), expected)
    assert found.summary["deadline_misses"] == 0
