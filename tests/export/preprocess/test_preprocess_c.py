import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from chains_of_signals import chain, contract, eeg

from export.c.host import find_compiler
from export.ir import Quant
from export.preprocess import fixed
from export.preprocess.definition import Fir, Preprocessor
from export.preprocess.generate import generate
from export.preprocess.host import HostChain
from export.preprocess.streaming import Streaming
from targets.errors import InputError

needs_cc = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wdouble-promotion")
QUANT = Quant(np.array([0.013], np.float32), -7)
COUNTS = {"input_unit": "counts", "uv_per_count": 0.0223}
CHAINS = {
    "iir": ("iir", 500.0, {}, COUNTS),
    "iir, order 4": ("iir", 500.0, {"reference": "T7"}, {**COUNTS, "high_pass_order": 4}),
    "iir, slow": ("iir", 1000.0, {"band": (0.1, 40.0), "reference": "as-recorded"}, COUNTS),
    "iir, slow and steep": ("iir", 1000.0, {"band": (0.1, 40.0)}, {**COUNTS, "high_pass_order": 4}),
    "iir, slower device": ("iir", 128.0, {}, COUNTS),
    "iir, equal rates": ("iir", 200.0, {}, COUNTS),
    "16 bits": ("iir", 256.0, {}, {"input_unit": "counts", "uv_per_count": 0.1, "input_bits": 16}),
    "fir": ("fir", 500.0, {"band": (2.0, 45.0)}, COUNTS),
    "nothing": ("iir", 200.0, {"band": None, "notch": None}, COUNTS),
}  # fmt: skip
CORES = {
    "cortex-m0plus": (),
    "cortex-m4": ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "cortex-m7": ("-mfloat-abi=hard", "-mfpu=fpv5-d16"),
    "cortex-m33": ("-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
    "cortex-m55": ("-mfloat-abi=hard", "-mfpu=auto"),
}


@pytest.fixture(scope="module", params=CHAINS)
def made(request):
    kind, sfreq, changes, options = CHAINS[request.param]
    return chain(kind, sfreq, contract(**changes), **options)


@pytest.fixture(scope="module")
def hosts(made, tmp_path_factory):
    """Both forms of a chain, compiled once; whoever takes one resets it."""
    folder = tmp_path_factory.mktemp("chain") / "c"
    generate(made, folder, quant=QUANT)
    return {form: HostChain(folder, form, STRICT) for form in ("float", "counts")}


def counts_of(made, seconds=10.0):
    """EEG, where the chain takes them off on electrodes' offsets of some millivolts, in counts."""
    offset = 3000.0 if made.remove_first else 0.0
    n = round(seconds * made.input_sfreq)
    most = 2 ** (made.input_bits - 1) - 1
    x = np.rint(eeg(6, n, made.input_sfreq, offset) / made.uv_per_count)
    return np.clip(x, -most, most).astype(np.int32)


def in_chunks(host, x, seed=0):
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, x.shape[1], 40))
    return np.concatenate([host.push(part) for part in np.split(x, cuts, axis=1)], axis=1)


@needs_cc
def test_the_float_form_is_the_python_form_within_float32(made, hosts):
    x = counts_of(made)
    hosts["float"].reset()
    wanted = Streaming(made.to_dict()).push(x)
    found = in_chunks(hosts["float"], x)
    assert found.shape == wanted.shape
    error = np.abs(found - wanted).max() / wanted[:, 400:].std()
    assert error < 1e-5


@needs_cc
def test_the_integer_form_is_60_db_from_the_python_form(made, hosts):
    host, x = hosts["counts"], counts_of(made)
    host.reset()
    wanted = Streaming(made.to_dict()).push(x)
    signals = in_chunks(host, x)
    found = host.convert("counts_to_float", signals, np.float32)
    np.testing.assert_allclose(found, signals * fixed.inner_gain(made), rtol=1e-6)
    noise = (found - wanted)[:, 200:]
    assert np.abs(found - wanted).max() / fixed.inner_gain(made) < 20  # steps of 2^-fraction counts
    assert 20 * np.log10(wanted[:, 200:].std() / noise.std()) > 60
    found_bytes = host.convert("counts_to_int8", signals, np.int8)
    steps = found_bytes.astype(int) - QUANT.quantise(wanted)
    assert np.abs(steps).max() <= 1
    assert np.mean(steps != 0) < 0.02
    assert len(np.unique(found_bytes)) > 50  # the scale is one that shows something


@needs_cc
def test_float_samples_become_the_models_bytes(tmp_path):
    generate(chain(), tmp_path / "c", quant=QUANT)
    host = HostChain(tmp_path / "c", "float", STRICT)
    values = np.linspace(-3, 3, 5000, dtype=np.float32)
    found = host.convert("float_to_int8", values, np.int8)
    assert np.abs(found.astype(int) - QUANT.quantise(values)).max() <= 1
    assert np.mean(found != QUANT.quantise(values)) < 0.002
    far = np.array([-1e30, 1e30, np.inf, -np.inf], np.float32)
    assert host.convert("float_to_int8", far, np.int8).tolist() == [-128, 127, 127, -128]


@needs_cc
def test_one_sample_at_a_time_is_the_same_bit_for_bit(made, hosts):
    x = counts_of(made, seconds=2.0)
    for host in hosts.values():
        host.reset()
        whole = host.push(x)
        host.reset()
        assert np.array_equal(in_chunks(host, x, seed=1), whole)


@needs_cc
def test_full_scale_saturates_and_comes_back(tmp_path):
    """A converter that jumps between its ends for a second, then EEG again."""
    made = chain(**COUNTS)
    generate(made, tmp_path / "c")
    host, x = HostChain(tmp_path / "c", "counts"), counts_of(made, 20.0)
    wild = x.copy()
    wild[:, 1000:1500] = np.where(np.arange(500) % 50 < 25, 2**23 - 1, -(2**23))
    wild[::2, 1000:1500] *= -1
    host.push(wild[:, :1500])
    after = host.convert("counts_to_float", host.push(wild[:, 1500:]), np.float32)
    wanted = Streaming(made.to_dict()).push(wild)[:, 600:]
    late = slice(-400, None)
    assert 20 * np.log10(wanted[:, late].std() / (after - wanted)[:, late].std()) > 60


@needs_cc
def test_wrong_calls_are_refused_and_change_nothing(tmp_path):
    generate(chain(), tmp_path / "c")
    host, x = HostChain(tmp_path / "c"), eeg(6, 500, 500.0)
    first = host.push(x[:, :250])
    rows = np.ascontiguousarray(x[:, 250:].T, np.float32)
    out, n = np.zeros((100, 4), np.float32), ctypes.c_int32(-1)
    state, made = host.state.ctypes.data, ctypes.addressof(n)
    good = [state, rows.ctypes.data, 250, out.ctypes.data, 100, made]
    for place in (0, 1, 3, 5):
        bad = list(good)
        bad[place] = 0
        assert host.push_raw(*bad) == 1
    assert host.push_raw(*good[:2], -1, *good[3:]) == 1
    assert host.push_raw(*good[:4], 99, made) == 3
    assert n.value == 0
    spoiled = rows.copy()
    spoiled[249, 1] = np.nan
    assert host.push_raw(state, spoiled.ctypes.data, *good[2:]) == 4
    other = np.zeros_like(host.state)
    assert host.push_raw(other.ctypes.data, *good[1:]) == 2
    assert host.push_raw(*good) == 0
    assert n.value == 100
    host.reset()
    whole = host.push(x)
    assert np.array_equal(whole, np.concatenate([first, out.T], axis=1))


class WindowStruct(ctypes.Structure):
    _fields_ = (
        ("bytes", ctypes.c_void_p),
        *((name, ctypes.c_int32) for name in ("n_times", "n_chans", "planar", "held")),
    )


@needs_cc
@pytest.mark.parametrize("planar", [0, 1])
def test_the_window_slides(planar, tmp_path):
    generate(chain(), tmp_path / "c")
    library = HostChain(tmp_path / "c").library
    samples = np.arange(3 * 40, dtype=np.int8).reshape(40, 3)
    memory = np.zeros(30, np.int8)
    window = WindowStruct(memory.ctypes.data, 10, 3, planar, 0)
    rng, done, found = np.random.default_rng(0), 0, []
    while done < 40:
        part = np.ascontiguousarray(samples[done : done + rng.integers(1, 9)])
        left = len(part)
        while left:
            at = part[len(part) - left :]
            left -= library.dlink_preprocess_window_take(
                ctypes.byref(window), ctypes.c_void_p(at.ctypes.data), left
            )
            if window.held == 10:
                rows = memory.reshape(3, 10).T if planar else memory.reshape(10, 3)
                found.append(rows.copy())
                library.dlink_preprocess_window_next(ctypes.byref(window), 4)
        done += len(part)
    assert [w[0, 0] for w in found] == [samples[k, 0] for k in range(0, 31, 4)]
    for k, rows in enumerate(found):
        assert np.array_equal(rows, samples[4 * k : 4 * k + 10])


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="no cross compiler")
@pytest.mark.parametrize("core", CORES)
def test_it_compiles_without_a_warning_for_each_core(core, tmp_path):
    generate(chain(**COUNTS), tmp_path / "c", quant=QUANT)
    for path in sorted((tmp_path / "c").glob("*.c")):
        command = ["arm-none-eabi-gcc", f"-mcpu={core}", *CORES[core], "-mthumb", *STRICT, "-c"]
        done = subprocess.run(
            [*command, str(path), "-o", str(tmp_path / "x.o")], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_the_integer_form_is_there_for_counts_alone(tmp_path):
    with_counts = generate(chain(**COUNTS), tmp_path / "a", quant=QUANT)
    without = generate(chain(), tmp_path / "b", quant=QUANT)
    assert "dlink_preprocess_i32.c" in with_counts.files
    assert "dlink_preprocess_i32.c" not in without.files
    assert without.counts_state_bytes is None
    header = (tmp_path / "a" / "preprocess_model.h").read_text()
    # 24 bits, one each for the first sample, the reference and the filters: 29 - 26.
    assert "FRACTION_BITS 3\n" in header
    if find_compiler():
        with pytest.raises(InputError, match="no such form"):
            HostChain(tmp_path / "b", "counts")


def test_what_fixed_point_cannot_hold_is_refused(tmp_path):
    made = chain(input_sfreq=200.0, signal=contract(band=None, notch=None), **COUNTS)
    loud = Preprocessor(**{**dict(made), "stages": (Fir(name="loud", taps=(1.9,) * 5),)})
    with pytest.raises(InputError, match="loud: filter's gain is too large"):
        generate(loud, tmp_path / "c")
    with pytest.raises(InputError, match="not int8"):
        generate(made, tmp_path / "c", quant=Quant(np.array([0.1], np.float32), bits=16))
    many = Preprocessor(**{**dict(made), "stages": (Fir(name="f", taps=(1.0,)),) * 5})
    with pytest.raises(InputError, match="too many FIR stages"):
        generate(many, tmp_path / "c")
    with pytest.raises(InputError, match="too far from the device's counts"):
        fixed.multiplier(made, 1e-15)


def test_names_of_channels_cannot_leave_the_comment(tmp_path):
    names = ("Fp1", "Fp2", "T7", "Cz", "*/ int evil; /*", "µ\\\n#error")
    generate(chain(input_ch_names=names), tmp_path / "c")
    if find_compiler():
        HostChain(tmp_path / "c", "float", STRICT)
