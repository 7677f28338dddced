import numpy as np
import pytest
from chains_of_signals import chain, contract

from export.preprocess.design import design
from export.preprocess.response import delay_seconds, facts, gain_at, settle_seconds
from export.preprocess.streaming import Streaming
from targets.errors import InputError


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input_sfreq": 90.0}, "too low .* allowed > 90 Hz"),
        ({"input_sfreq": 250.0001}, "no small ratio"),
        ({"input_sfreq": float("nan")}, "too low"),
        ({"input_unit": "volts"}, "unit is not known"),
        ({"input_unit": "counts"}, "counts need their worth"),
        ({"input_unit": "uV", "uv_per_count": 1.0}, "only counts have a worth"),
        ({"input_ch_names": ("Fp1", "Fp2", "Cz")}, "channels T7 are not in the recording"),
        ({"input_ch_names": ("Fp1", "Fp1", "Cz")}, "named twice"),
        ({"order": 0}, "order is out of range"),
        ({"high_pass_order": 9}, "high_pass_order: filter order"),
        ({"kind": "butter"}, "kind of filters"),
        ({"signal": contract(reference="Oz")}, "none of the electrodes"),
        ({"input_unit": "counts", "uv_per_count": 1.0, "input_bits": 32}, "converter's width"),
    ],
)
def test_what_a_device_cannot_do_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        chain(**changes)


def test_names_of_a_device_may_be_decorated():
    names = ("EEG Cz", "EEG T3", "EEG Fp2", "EEG Fp1")
    made = chain(input_ch_names=names, strip=("EEG ",))
    assert made.picks == (3, 2, 1, 0)


@pytest.mark.parametrize("input_sfreq", [200.0, 250.0, 256.0, 500.0, 512.0, 1000.0, 128.0])
@pytest.mark.parametrize("kind", ["iir", "fir"])
def test_a_sine_leaves_with_the_stated_gain_and_delay(input_sfreq, kind):
    made = chain(kind, input_sfreq, contract(notch=None, reference="as-recorded"))
    hz = 12.0
    seconds = settle_seconds(made) + 4
    t = np.arange(round(seconds * input_sfreq)) / input_sfreq
    out = Streaming(made.to_dict()).push(np.tile(np.cos(2 * np.pi * hz * t), (6, 1)))[0] / made.gain
    kept = slice(out.size - 400, out.size)
    time = np.arange(out.size)[kept] / 200.0
    phasor = 2 * np.mean(out[kept] * np.exp(-2j * np.pi * hz * time))
    assert abs(phasor) == pytest.approx(gain_at(made, np.array([hz]))[0], rel=1e-3)
    if kind == "fir":
        assert abs(phasor) == pytest.approx(1, abs=5e-3)
        late = delay_seconds(made)
        lead = np.angle(phasor * np.exp(2j * np.pi * hz * late))
        assert lead == pytest.approx(0, abs=1e-3)
        assert late * 200 == pytest.approx(round(late * 200), abs=1e-6)


def test_the_iir_delay_is_the_slope_of_the_phase():
    made = chain(signal=contract(notch=None))
    from export.preprocess.response import response

    freqs = np.linspace(1, 44, 2000)
    total = np.prod([response(s, freqs, 500.0) for s in made.stages], axis=0)
    slope = -np.gradient(np.unwrap(np.angle(total)), 2 * np.pi * freqs)
    stated = facts(made)["delay"]
    assert stated["seconds"] == pytest.approx(np.median(slope), rel=0.05)
    assert stated["spread_seconds"][0] <= np.median(slope) <= stated["spread_seconds"][1]
    assert sum(s["seconds"] for s in stated["stages"]) == pytest.approx(stated["seconds"])


def test_edges_of_the_band_and_the_notch_are_where_the_contract_says():
    made = chain(high_pass_order=2)
    low, high = facts(made)["edges"]
    assert low["db"] == pytest.approx(-3.01, abs=0.05)
    assert high["db"] == pytest.approx(-3.01, abs=0.2)
    assert gain_at(made, np.array([50.0]))[0] < 1e-6
    flat = gain_at(made, np.linspace(3, 30, 50))
    assert np.abs(flat - 1).max() < 0.02


def test_nothing_is_filtered_that_the_contract_does_not_name():
    bare = contract(band=None, notch=None)
    assert chain(input_sfreq=200.0, signal=bare).stages == ()
    only = chain(input_sfreq=400.0, signal=bare)
    assert [s.name for s in only.stages] == ["resampler"]
    assert not only.remove_first
    low = chain(input_sfreq=200.0, signal=contract(band=(0.0, 40.0), notch=None))
    assert [s.name for s in low.stages] == ["low-pass"]
    # As offline: a notch above half the device's rate is left out.
    assert [s.name for s in chain(input_sfreq=95.0).stages] == ["high-pass", "low-pass",
                                                                "resampler"]  # fmt: skip


def test_images_and_aliases_are_stopped():
    made = chain(signal=contract(notch=None))
    # What would fold into the band from beyond half the model's rate.
    assert gain_at(made, np.linspace(156, 244, 100)).max() < 1e-4


def test_fir_is_what_mne_designs():
    import mne

    made = design(contract(), input_sfreq=500.0, input_unit="uV", kind="fir")
    taps = mne.filter.create_filter(None, 500.0, 0.5, 45.0, verbose="ERROR")
    assert np.array_equal(np.asarray(made.stages[0].taps), taps)


def test_a_chain_has_settled_after_the_stated_time():
    made = chain(signal=contract(notch=None, reference="as-recorded"))
    stream = Streaming({**made.to_dict(), "remove_first": False})
    n = round(settle_seconds(made) * 500)
    out = np.abs(stream.push(np.ones((6, n + 500)))) / made.gain
    assert out[:, -200:].max() < 2e-3 < out[:, 20:200].max()


@pytest.mark.parametrize(
    ("kind", "band", "taken"),
    [("iir", (0.5, 45.0), True), ("fir", (0.5, 45.0), True), ("iir", (0.0, 45.0), False),
     ("fir", (0.0, 30.0), False), ("iir", (8.0, 30.0), True), ("iir", None, False)],
)  # fmt: skip
def test_the_first_sample_is_taken_off_where_a_constant_is_blocked_anyway(kind, band, taken):
    assert chain(kind, signal=contract(band=band)).remove_first is taken


def test_the_cost_is_counted():
    # 4 channels: 1 + 2 + 1 sections at 500 Hz, 26 taps for each of 200 outputs a second.
    assert facts(chain())["macs_per_second"] == 4 * (7 * 4 * 500 + 26 * 200)
