import pytest
from pydantic import ValidationError

from distill.signal import SignalSpec
from targets.errors import InputError

SPEC = SignalSpec(
    ch_names=("C3", "Cz", "C4"), sfreq=200, n_times=400, band=(0.5, 45.0), notch=50.0, scale=100.0
)


def test_gain_takes_volts_to_model_input():
    assert pytest.approx(1.0) == 100e-6 * SPEC.gain  # 100 microvolts / 100
    assert SignalSpec(ch_names=("C3",), sfreq=200, n_times=1, unit="mV").gain == pytest.approx(1e3)
    assert SignalSpec(ch_names=("C3",), sfreq=200, n_times=1, unit="V").gain == 1.0


def test_length_and_number_of_electrodes():
    assert (SPEC.n_chans, SPEC.seconds) == (3, 2.0)


def test_it_survives_json():
    assert SignalSpec(**SPEC.to_dict()) == SPEC
    assert SignalSpec(**SPEC.to_dict()).hash == SPEC.hash


@pytest.mark.parametrize(
    "change",
    [
        {"ch_names": ("Cz", "C3", "C4")},  # the order counts
        {"sfreq": 250.0},
        {"n_times": 800},
        {"reference": "average"},
        {"band": (0.5, 40.0)},
        {"notch": None},
        {"unit": "mV"},
        {"scale": 1.0},
    ],
)
def test_every_field_counts_in_hash_and_differences(change):
    other = SPEC.model_copy(update=change)
    assert other.hash != SPEC.hash
    (difference,) = SPEC.differences(other)
    assert difference.startswith(f"{next(iter(change))}: ")


def test_check_names_every_difference_and_where():
    other = SPEC.model_copy(update={"sfreq": 250.0, "unit": "V"})
    with pytest.raises(InputError, match=r"^model x: signal contract differs: ") as caught:
        SPEC.check(other, where="model x")
    assert "sfreq: 200.0 != 250.0; unit: uV != V" in str(caught.value)
    SPEC.check(SignalSpec(**SPEC.to_dict()), where="model x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ch_names": ("C3", "C3")}, "C3 more than once"),
        ({"ch_names": ()}, "at least 1"),
        ({"band": (40.0, 0.5)}, "must rise"),
        ({"band": (0.5, 100.0)}, "below sfreq / 2"),
        ({"notch": -50.0}, "greater than 0"),
        ({"unit": "nV"}, "'V', 'mV' or 'uV'"),
        ({"scale": 0.0}, "greater than 0"),
        ({"montage": "10-20"}, "Extra inputs"),
    ],
)
def test_refuses_what_no_signal_can_be(change, message):
    with pytest.raises(ValidationError, match=message):
        SignalSpec(**{**SPEC.to_dict(), **change})
