import os
from pathlib import Path

import mne
import numpy as np
import pytest
from chains_of_signals import CH_NAMES, contract, eeg

from distill.recipe import DATA_DEFAULT, DATA_VARIABLE
from distill.recordings import read_raw
from export.preprocess.clock import fit_clock, on_clock
from export.preprocess.compare import against_offline, align, cut_both, device_samples
from export.preprocess.design import design
from targets.errors import InputError

DATA = Path(os.environ.get(DATA_VARIABLE, DATA_DEFAULT)).resolve() / "eegmat"
REAL = ("Fp1", "F3", "C4", "O2", "T7", "Cz")


def recording(seconds=40.0, sfreq=500.0):
    info = mne.create_info(list(CH_NAMES[::-1]), sfreq, "eeg")
    return mne.io.RawArray(1e-6 * eeg(4, round(seconds * sfreq), sfreq), info, verbose="ERROR")


@pytest.mark.parametrize("reference", ["average", "Cz", "as-recorded"])
def test_fir_is_the_offline_chain_where_the_rates_are_equal(reference):
    signal = contract(sfreq=500.0, n_times=1000, reference=reference)
    made = design(signal, input_sfreq=500.0, input_unit="V", kind="fir")
    found = against_offline(recording(), signal, made)
    assert found["worst"]["relative_rms"] < 1e-6
    assert found["lag"] == 3300


def test_fir_is_the_offline_chain_on_its_clock():
    signal = contract(notch=None)
    made = design(signal, input_sfreq=500.0, input_unit="uV", kind="fir")
    found = against_offline(recording(), signal, made)
    assert found["relative_rms_same_clock"] < 1e-4 < found["relative_rms"]
    # The offline resampling rounds 2^n * 0.4 samples to a whole number: 32768 -> 13107.
    assert found["clock"]["drift_ppm"] == pytest.approx(1e6 * (13107.2 / 13107 - 1), rel=0.02)
    assert abs(found["clock"]["offset_samples"]) < 0.5


def test_a_clock_is_found_again():
    t = np.arange(4000.0)
    moved = t + 0.3 - 2e-5 * t
    waves = [0.021, 0.1, 0.27]
    reference = np.array([[np.sin(2 * np.pi * f * moved + k) for f in waves] for k in range(2)])
    signal = np.array([[np.sin(2 * np.pi * f * t + k) for f in waves] for k in range(2)])
    reference, signal = reference.sum(axis=1), signal.sum(axis=1)
    offset, drift = fit_clock(reference, signal)
    assert (offset, drift) == pytest.approx((0.3, -2e-5), abs=1e-6)
    found, kept = on_clock(signal, offset, drift)
    np.testing.assert_allclose(found, reference[:, kept], atol=1e-5)


def test_the_device_unit_and_order_are_followed():
    raw = recording()
    signal = contract(reference="as-recorded")
    names = ("Cz", "Fp1", "T3", "Fp2")
    made = design(signal, input_sfreq=500.0, input_unit="counts", uv_per_count=0.5,
                  input_ch_names=names)  # fmt: skip
    samples = device_samples(raw, made)
    assert np.array_equal(samples, np.rint(samples))
    volts = raw.get_data(picks=["Cz", "Fp1", "T7", "Fp2"])
    np.testing.assert_allclose(samples * 0.5e-6, volts, atol=0.26e-6)
    found = against_offline(raw, signal, made)
    assert found["correlation"] > 0.8


def test_windows_of_both_kinds_lie_on_one_grid():
    signal = contract(notch=None, reference="as-recorded")
    made = design(signal, input_sfreq=500.0, input_unit="V", high_pass_order=1)
    both = align(recording(), signal, made)
    a, b = cut_both(both, signal)
    assert a.shape == b.shape == (both.offline.shape[1] // 400, 4, 400)
    # Its own causal window is the nearest one to each offline window.
    scores = a.reshape(len(a), -1) @ b.reshape(len(b), -1).T
    assert scores.argmax(axis=1).tolist() == list(range(len(a)))


def test_what_cannot_be_compared_is_refused():
    signal = contract()
    made = design(signal, input_sfreq=250.0, input_unit="V")
    with pytest.raises(InputError, match="another rate"):
        against_offline(recording(), signal, made)
    made = design(signal, input_sfreq=500.0, input_unit="V", kind="fir")
    with pytest.raises(InputError, match="too short"):
        against_offline(recording(15.0), signal, made)
    with pytest.raises(InputError, match="scale: "):
        against_offline(recording(), contract(scale=1.0), made)


@pytest.mark.skipif(not DATA.is_dir(), reason="no data")
def test_on_a_real_recording():
    path = read_raw(DATA / "Subject03_2.edf").crop(0, 40)
    signal = contract(ch_names=REAL, reference="as-recorded", notch=None, n_times=800)
    fir = design(signal, input_sfreq=500.0, input_unit="uV", kind="fir")
    found = against_offline(path, signal, fir, strip=("EEG ",))
    assert found["relative_rms_same_clock"] < 1e-4
    assert found["relative_rms"] < 0.25
    iir = design(signal, input_sfreq=500.0, input_unit="uV")
    found = against_offline(path, signal, iir, strip=("EEG ",))
    assert found["correlation"] > 0.85
    assert found["delay_seconds"] < 0.04
    steep = design(signal, input_sfreq=500.0, input_unit="uV", high_pass_order=4)
    assert against_offline(path, signal, steep, strip=("EEG ",))["correlation"] < 0.85
