"""A stream against the signal contract."""

import dataclasses

import numpy as np
import pytest
from live_rig import RECORDED, SIGNAL, STRIP

from firmware_bench.live.contract import check
from firmware_bench.live.stream import StreamInfo, unit_of
from targets.errors import InputError

FITS = StreamInfo("lsl", "headset", RECORDED, 200.0, ("uV", "mV", "uV", "V"))


def but(**changes):
    return dataclasses.replace(FITS, **changes)


def test_electrodes_are_found_by_name_and_brought_to_microvolts():
    entrance = check(FITS, SIGNAL, strip=STRIP)
    data = np.arange(8.0).reshape(4, 2)
    expected = np.stack([data[3] * 1e6, data[1] * 1e3, data[0]])
    np.testing.assert_allclose(entrance.microvolts(data), expected, rtol=1e-12)


def test_every_difference_is_named_with_what_mends_it():
    signal = SIGNAL.model_copy(update={"reference": "average"})
    found = check(FITS, signal, strip=STRIP).differences
    assert found == (
        "names: EEG T3-REF is T7 (older names)",
        "channels: 4 in their order != 3 (picked by name)",
        "sfreq: 200 != 100 Hz (resampled)",
        "unit: V, mV != uV (scaled)",
        "reference: as sent != average (subtracted)",
    )


def test_a_stream_like_the_contract_differs_in_nothing():
    same = StreamInfo("lsl", "x", SIGNAL.ch_names, SIGNAL.sfreq, ("uV",) * 3)
    assert check(same, SIGNAL).differences == ()


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (but(ch_names=("Fp1", "EEG Cz-REF", "ECG", "EEG C3-REF")), "channels T7 are not"),
        (but(sfreq=59.0), "sampling rate is too low"),
        (but(sfreq=0.0), "no nominal rate"),
        (but(sfreq=333.3333), "no small ratio"),
        (but(units=(None,) * 4), "unit of its channels is not stated"),
    ],
)
def test_what_cannot_be_mended_is_refused(info, words):
    with pytest.raises(InputError, match=words):
        check(info, SIGNAL, strip=STRIP)


def test_all_faults_are_told_at_once():
    with pytest.raises(InputError) as refused:
        check(but(ch_names=tuple("abcd"), sfreq=10.0), SIGNAL)
    assert "channels C3, Cz, T7" in str(refused.value)
    assert "rate is too low" in str(refused.value)


def test_a_unit_may_be_told_but_not_contradicted():
    silent = but(units=(None, "uV", None, None))
    assert check(silent, SIGNAL, strip=STRIP, unit="uV").to_uv.tolist() == [[1], [1], [1]]
    with pytest.raises(InputError, match="told as mV, the stream states uV"):
        check(FITS, SIGNAL, strip=STRIP, unit="mV")


@pytest.mark.parametrize(
    ("text", "unit"),
    [("microvolts", "uV"), ("µV", "uV"), ("\u03bcV", "uV"), ("mV", "mV"), (" Volt", "V"),
     ("mmHg", None), ("", None), (None, None)],
)  # fmt: skip
def test_spellings_of_units(text, unit):
    assert unit_of(text) == unit
