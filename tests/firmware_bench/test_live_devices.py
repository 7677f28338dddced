"""LSL and BrainFlow, each with the stream that needs no hardware."""

import time

import numpy as np
import pytest
from live_rig import SIGNAL, artefact, eeg
from rich.console import Console

from firmware_bench import artefact as artefacts
from firmware_bench.live.run import Options, run
from targets.errors import InputError

SFREQ = 200.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return artefact(tmp_path_factory.mktemp("live") / "artefact")


def test_brainflows_synthetic_board(tmp_path):
    pytest.importorskip("brainflow")
    from firmware_bench.live.brainflow import BrainFlow

    signal = SIGNAL.model_copy(update={"ch_names": ("C4", "Cz", "Fz")})
    opened = artefacts.load(artefact(tmp_path / "artefact", signal))
    source = BrainFlow("synthetic")
    assert source.info.sfreq == 250
    found = run(opened, source, Options(hop_ms=100, seconds=3), Console(), quiet=True).summary
    assert found["decisions"] >= 18
    assert found["stream"]["gaps_seen_by"] == "counters"
    assert (found["samples"]["dropped"], found["samples"]["duplicates"]) == (0, 0)
    assert found["deadline_misses"] <= 2
    assert "sfreq: 250 != 100 Hz (resampled)" in found["stream"]["differences"]


def test_brainflow_refuses_what_it_does_not_know():
    pytest.importorskip("brainflow")
    from firmware_bench.live.brainflow import BrainFlow

    with pytest.raises(InputError, match="SYNTHETIC_BOARD"):
        BrainFlow("syntetic")
    with pytest.raises(InputError, match="parameter is not known"):
        BrainFlow("synthetic", {"port": "x"})
    with pytest.raises(InputError, match="is no int"):
        BrainFlow("synthetic", {"ip_port": "x"})
    with pytest.raises(InputError, match="one name for each"):
        BrainFlow("synthetic", ch_names=("C3", "Cz"))
    with pytest.raises(InputError, match="refuses the board"):
        BrainFlow("cyton", {"serial_port": "/dev/none"}).start()


def outlet(name, ch_names, unit="microvolts", sfreq=SFREQ):
    pylsl = pytest.importorskip("pylsl", exc_type=(ImportError, RuntimeError))
    info = pylsl.StreamInfo(name, "EEG", len(ch_names), sfreq, "double64", f"uid-{name}")
    channels = info.desc().append_child("channels")
    for one in ch_names:
        channel = channels.append_child("channel")
        channel.append_child_value("label", one)
        channel.append_child_value("unit", unit)
    return pylsl.StreamOutlet(info)


def test_an_lsl_stream_with_a_gap_and_a_duplicate(folder):
    sender = outlet("dlink-test", ("T3", "C3", "Cz"))
    from firmware_bench.live.lsl import Lsl

    source = Lsl("dlink-test")
    assert source.info.units == ("uV",) * 3
    data, sent = eeg(3, 600), [k for k in range(600) if k not in (250, 251)]
    sent.insert(100, sent[99])

    class Sending:
        """The stream, and its device: a chunk is sent whenever one is read."""

        paced, info, close = True, source.info, source.close
        begin, place = 0.0, 0

        def start(self):
            source.start()
            sender.wait_for_consumers(5)
            self.begin = time.monotonic()

        def read(self):
            for k in sent[self.place : self.place + 20]:
                sender.push_sample(data[:, k].tolist(), 100 + k / SFREQ)
            self.place += 20
            return source.read()

    options = Options(hop_ms=50, seconds=3, keep=True)
    found = run(artefacts.load(folder), Sending(), options, Console(), quiet=True)
    samples = found.summary["samples"]
    assert (samples["dropped"], samples["filled"], samples["duplicates"]) == (2, 2, 1)
    assert found.summary["stream"]["gaps_seen_by"] == "timestamps"
    assert found.summary["decisions"] == 41
    assert 0 < found.summary["repaired"] < 41
    expected = data.copy()
    expected[:, 250:252] = data[:, 249:250]
    assert np.allclose([one["logits"] for one in found.decisions], logits(folder, expected))


def logits(folder, data):
    """Logits of windows cut from the whole signal at once."""
    from export.preprocess import design
    from export.preprocess.streaming import Streaming
    from export.runtimes import OnnxModel

    chain = Streaming(design(SIGNAL, input_sfreq=SFREQ, input_unit="uV").to_dict())
    eeg_ = chain.push(data[[1, 2, 0]])
    windows = [eeg_[:, s : s + SIGNAL.n_times] for s in range(0, 201, 5)]
    return OnnxModel(folder / "student.fp32.onnx").run(np.stack(windows))


def test_lsl_streams_that_cannot_be_decoded(folder):
    outlets = [outlet("dlink-volts", ("T3", "C3", "Cz"), unit="")]
    from firmware_bench.live.lsl import Lsl

    opened = artefacts.load(folder)
    with pytest.raises(InputError, match="unit of its channels is not stated"):
        run(opened, Lsl("dlink-volts"), Options(), Console(), quiet=True)
    outlets.append(outlet("dlink-events", ("T3", "C3", "Cz"), sfreq=0.0))
    with pytest.raises(InputError, match="no nominal rate"):
        run(opened, Lsl("dlink-events"), Options(), Console(), quiet=True)
    with pytest.raises(InputError, match="no stream has this name"):
        Lsl("dlink-nobody", timeout=1.0)
    with pytest.raises(InputError, match="one name for each"):
        Lsl("dlink-volts", ch_names=("C3",))
