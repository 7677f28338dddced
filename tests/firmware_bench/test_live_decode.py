"""Windows, hops, and what gaps do to decisions."""

import io

import numpy as np
import pytest
from live_rig import SIGNAL, eeg
from rich.console import Console

from export.preprocess import design
from export.preprocess.streaming import Streaming
from firmware_bench.live.chain import Causal, ChainFacts
from firmware_bench.live.contract import check
from firmware_bench.live.decode import Decoder, hop_samples, softmax
from firmware_bench.live.model import Model
from firmware_bench.live.record import Record
from firmware_bench.live.stream import Chunk, StreamInfo
from firmware_bench.live.view import View
from targets.errors import InputError

SFREQ = 100.0


class Mean:
    """Logits: the window's mean of the first electrode, and a half."""

    def run(self, windows):
        return np.array([[window[0].mean(), 0.5] for window in windows], np.float32)


def decoder(hop=10, settle=0.0):
    """Equal rates and no filters, so that a window holds the samples themselves."""
    signal = SIGNAL.model_copy(update={"band": None, "scale": 1.0})
    entrance = check(StreamInfo("test", "x", signal.ch_names, SFREQ, ("uV",) * 3), signal)
    chain = Causal(
        design(signal, input_sfreq=SFREQ, input_unit="uV"),
        entrance,
        ChainFacts("test", "none", 0.0, settle),
    )
    model = Model(Mean(), "none", "fp32.onnx", "numpy", {})
    return Decoder(chain, model, signal, sfreq=SFREQ, hop=hop)


def test_a_hop_is_a_whole_number_of_samples():
    assert hop_samples(50, SIGNAL) == 5
    with pytest.raises(InputError, match="Take 10 ms"):
        hop_samples(12.5, SIGNAL)
    with pytest.raises(InputError, match="Take 10 ms"):
        hop_samples(1e-3, SIGNAL)


def test_softmax_does_not_overflow():
    found = softmax(np.array([1000, 999], np.float32))
    assert found == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])


@pytest.mark.parametrize("size", [1, 37, 1000])
def test_windows_come_every_hop_whatever_the_chunks(size):
    data = eeg(3, 250)
    one, found = decoder(settle=0.5), []
    for k in range(0, 250, size):
        found += one.push(Chunk(data[:, k : k + size]))
    starts = list(range(0, 151, 10))
    assert [d.start for d in found] == starts
    assert [d.seconds for d in found] == [pytest.approx(1 + s / SFREQ) for s in starts]
    means = [data[0, s : s + 100].astype(np.float32).mean() for s in starts]
    np.testing.assert_allclose([d.logits[0] for d in found], means, rtol=1e-5)
    assert [d.label for d in found] == [int(m < 0.5) for m in means]
    assert [d.settled for d in found] == [s >= 50 for s in starts]
    assert [d.index for d in found] == list(range(16))
    assert one.stream_seconds == 2.5


@pytest.mark.parametrize(("sfreq", "size"), [(200.0, 1), (250.0, 1), (128.0, 3), (100.0, 7)])
def test_a_decision_comes_with_the_very_chunk_that_completes_its_window(sfreq, size):
    preprocessor = design(SIGNAL, input_sfreq=sfreq, input_unit="uV")
    entrance = check(StreamInfo("test", "x", SIGNAL.ch_names, sfreq, ("uV",) * 3), SIGNAL)
    chain = Causal(preprocessor, entrance, ChainFacts("test", "iir", 0.0, 0.0))
    model = Model(Mean(), "none", "fp32.onnx", "numpy", {})
    one = Decoder(chain, model, SIGNAL, sfreq=sfreq, hop=3)
    plain, made, due, data = Streaming(preprocessor.to_dict()), 0, 100, eeg(3, 400)
    for k in range(0, 400, size):
        made += plain.push(data[:, k : k + size]).shape[1]
        expected = 0
        while made >= due:
            due, expected = due + 3, expected + 1
        assert len(list(one.push(Chunk(data[:, k : k + size])))) == expected
    assert due > 103


def test_the_first_window_has_no_hop_and_later_ones_add_up():
    one = decoder()
    found = [d for k in range(25) for d in one.push(Chunk(eeg(3, 10)))]
    assert found[0].hop_ns is None
    assert all(0 < d.inference_ns <= d.hop_ns for d in found[1:])
    assert sum(d.hop_ns for d in found[1:]) < one.busy_ns
    assert all(d.latency_ns >= d.inference_ns for d in found)


def test_windows_with_filled_samples_say_so():
    one = decoder()
    data = np.ones((3, 300))
    data[1, 120] = np.nan
    found = [d for k in range(300) for d in one.push(Chunk(data[:, k : k + 1]))]
    # Filled when the next sample comes, at 121.
    assert [d.start for d in found if d.repaired] == [30, 40, 50, 60, 70, 80, 90, 100, 110, 120]
    assert [d.start for d in found] == list(range(0, 201, 10))


def test_after_a_long_gap_windows_start_anew_and_the_clock_goes_on():
    one = decoder()
    times = np.r_[np.arange(120), np.arange(320, 450)] / SFREQ
    found = list(one.push(Chunk(np.ones((3, 250)), times=times)))
    assert [round(d.seconds, 6) for d in found] == [1.0, 1.1, 1.2, 4.2, 4.3, 4.4, 4.5]
    assert [d.start for d in found] == [0, 10, 20, 0, 10, 20, 30]
    assert one.repair.counts.restarts == 1
    assert one.stream_seconds == 4.5


def test_a_late_decision_misses_its_deadline():
    one, record = decoder(), Record(("a", "b"), hop_ms=100.0)
    late = Chunk(eeg(3, 110))
    late = Chunk(late.data, arrived_ns=late.arrived_ns - 200_000_000)
    for decision in one.push(late):
        record.add(decision)
    for decision in one.push(Chunk(eeg(3, 10))):
        record.add(decision)
    assert (record.n, record.missed) == (3, 2)
    assert record.times()["latency"].worst > 200
    assert record.decisions == []


def test_no_decisions_have_no_times():
    assert Record(("a", "b"), hop_ms=100.0).times() == {}


def test_a_terminal_shows_label_bars_and_latency_and_other_places_a_line_a_second():
    labels = ("rest", "arithmetic")
    decoded, record = decoder(), Record(labels, hop_ms=100.0)
    decisions = list(decoded.push(Chunk(eeg(3, 200))))
    for terminal, shown in ((True, "█"), (False, "missed 0")):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
        with View(console, record, decoded.repair.counts, quiet=False) as view:
            for decision in decisions:
                view.show(decision)
        text = console.file.getvalue()
        assert shown in text
        assert labels[decisions[0].label] in text
        assert "latency" in text
        assert len(decisions) == 11
        assert text.count("p 0.") == 1 + terminal  # the others came too soon; Live draws its last
        assert ("last latencies" in text) == terminal
    quiet = Console(file=io.StringIO(), force_terminal=True)
    with View(quiet, record, decoded.repair.counts, quiet=True) as view:
        view.show(decisions[0])
    assert quiet.file.getvalue() == ""
