import json

import numpy as np
import pytest
from chains_of_signals import chain, contract

from export.preprocess.definition import Biquads, Fir, Preprocessor
from targets.errors import InputError


@pytest.mark.parametrize("kind", ["iir", "fir"])
def test_a_definition_survives_json_to_the_last_bit(kind, tmp_path):
    made = chain(kind)
    made.write(tmp_path / "preprocessing.json")
    read = Preprocessor.read(tmp_path / "preprocessing.json")
    assert read == made
    assert read.hash == made.hash


def test_mixing_picks_by_electrode_and_subtracts_the_reference():
    raw = np.arange(6.0) ** 2  # A1 T3 Cz Fp2 X Fp1
    wanted = np.array([25.0, 9.0, 1.0, 4.0])  # Fp1 Fp2 T7 (once T3) Cz
    for reference, taken in (("as-recorded", 0), ("average", wanted.mean()), ("T3", 1), ("cz", 4)):
        made = chain(signal=contract(reference=reference))
        np.testing.assert_allclose(made.mixing() @ raw, wanted - taken, atol=1e-12)


def test_the_gain_turns_the_device_unit_into_the_contract():
    assert chain(input_unit="V").gain == pytest.approx(1e6 / 100)
    assert chain(input_unit="uV", signal=contract(unit="mV", scale=1)).gain == pytest.approx(1e-3)
    counts = chain(input_unit="counts", uv_per_count=0.5)
    assert counts.gain == pytest.approx(0.005)


def change(data, path, value):
    *way, last = path
    for key in way:
        data = data[key]
    data[last] = value


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["stages", 0, "sos", 0, 5], 1.2, "not stable"),
        (["stages", 0, "sos", 0, 0], float("nan"), "finite"),
        (["picks", 0], 6, "picks must lie in 0..5"),
        (["picks", 0], 1, "one input channel for each"),
        (["stages", 3, "down"], 4, "does not lead to 200.0 Hz"),
        (["stages", 3, "up"], 1 << 20, "less than or equal to 512"),
        (["uv_per_count"], 1.0, "counts need it"),
        (["extra"], 1, "not permitted"),
        (["derived", "gain"], 2.0, "changed by hand"),
    ],
)
def test_a_damaged_definition_is_refused(path, value, says, tmp_path):
    data = json.loads(json.dumps(chain().to_dict()))
    change(data, path, value)
    (tmp_path / "p.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=says):
        Preprocessor.read(tmp_path / "p.json")


def test_only_the_last_stage_may_resample():
    made = chain()
    stages = (made.stages[-1], Biquads(name="late", sos=((1, 0, 0, 1, 0, 0),)))
    with pytest.raises(ValueError, match="only the last"):
        Preprocessor(**{**dict(made), "stages": stages})


def test_phases_hold_each_tap_once():
    fir = Fir(name="f", taps=tuple(range(1, 8)), up=3, down=2)
    assert fir.history == 2
    assert fir.phases().tolist() == [[1, 4, 7], [2, 5, 0], [3, 6, 0]]
