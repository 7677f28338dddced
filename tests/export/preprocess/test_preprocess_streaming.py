import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chains_of_signals import chain, contract, eeg
from hypothesis import given, settings
from hypothesis import strategies as st

from export.preprocess import streaming
from export.preprocess.streaming import Streaming, Window


@pytest.fixture(scope="module", params=[("iir", 500.0), ("iir", 128.0), ("fir", 512.0)])
def made(request):
    kind, sfreq = request.param
    return chain(kind, sfreq).to_dict()


@given(cuts=st.lists(st.integers(0, 700), max_size=30))
@settings(max_examples=15, deadline=None)
def test_the_result_does_not_depend_on_the_chunks(made, cuts):
    x = eeg(6, 700, 500.0, offset=1e4)
    whole = Streaming(made).push(x)
    stream = Streaming(made)
    parts = [stream.push(part) for part in np.split(x, sorted(cuts), axis=1)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)


def test_one_sample_at_a_time_is_the_same(made):
    x = eeg(6, 300, 500.0)
    stream = Streaming(made)
    single = np.concatenate([stream.push(x[:, k : k + 1]) for k in range(300)], axis=1)
    stream.reset()
    assert np.array_equal(stream.push(x), single)


def test_without_scipy_the_sections_are_the_same(monkeypatch):
    x = eeg(6, 400, 500.0)
    with_scipy = Streaming(chain().to_dict()).push(x)
    monkeypatch.setattr(streaming, "sosfilt", None)
    np.testing.assert_allclose(Streaming(chain().to_dict()).push(x), with_scipy, atol=1e-7)


def test_the_filters_are_those_of_scipy():
    from scipy.signal import resample_poly, sosfilt, upfirdn

    made = chain(signal=contract(reference="as-recorded"))
    x = eeg(6, 1000, 500.0)
    y = x[list(made.picks)] - x[list(made.picks), :1]
    for stage in made.stages[:-1]:
        y = sosfilt(np.asarray(stage.sos), y, axis=1)
    last = made.stages[-1]
    wanted = upfirdn(last.taps, y, up=2, down=5, axis=1)[:, :400] * made.gain
    np.testing.assert_allclose(Streaming(made.to_dict()).push(x), wanted, atol=1e-6)
    taps = np.asarray(last.taps) / 2
    centred = resample_poly(y, 2, 5, axis=1, window=taps) * made.gain
    # resample_poly takes the delay of its filter off; here 25 of 1,000 Hz: 5 samples.
    assert (len(taps) - 1) / 2 == 25
    np.testing.assert_allclose(centred[:, :390], wanted[:, 5:395], atol=1e-6)


def test_an_offset_of_the_electrodes_leaves_no_trace():
    x = eeg(6, 500, 500.0)
    plain, lifted = Streaming(chain().to_dict()), Streaming(chain().to_dict())
    far = x + np.array([[3e5], [-2e5], [1e5], [0.0], [0.0], [5e4]])
    np.testing.assert_allclose(lifted.push(far), plain.push(x), atol=1e-5)


def test_bad_chunks_are_refused_and_change_nothing():
    stream, other = Streaming(chain().to_dict()), Streaming(chain().to_dict())
    x = eeg(6, 300, 500.0)
    first = stream.push(x[:, :100])
    for bad in (x[:5], x[0], np.full((6, 3), np.nan), np.full((6, 1), np.inf)):
        with pytest.raises(ValueError, match="chunk"):
            stream.push(bad)
    rest = stream.push(x[:, 100:])
    assert np.array_equal(np.concatenate([first, rest], axis=1), other.push(x))
    assert stream.push(x[:, :0]).shape == (4, 0)
    spare = x.copy()
    spare[0] = np.nan  # a channel that the model does not see may be open
    assert np.isfinite(Streaming(chain().to_dict()).push(spare)).all()


@pytest.mark.parametrize(("n_times", "hop"), [(10, 3), (4, 4), (3, 7), (5, 1)])
def test_windows_slide_by_the_hop(n_times, hop):
    x = np.arange(60, dtype=np.float32)[None]
    rng, window = np.random.default_rng(0), Window(1, n_times, hop)
    found = []
    for part in np.split(x, np.sort(rng.integers(0, 60, 20)), axis=1):
        found += window.push(part)
    starts = range(0, 60 - n_times + 1, hop)
    assert [w[0, 0] for w in found] == list(starts)
    assert all(np.array_equal(np.diff(w[0]), np.ones(n_times - 1)) for w in found)
    with pytest.raises(ValueError, match="hop"):
        Window(1, 4, 0)


def test_the_module_stands_alone(tmp_path):
    """As on a Pi: only this file and the definition, no package of dlink, no scipy."""
    text = Path(streaming.__file__).read_text()
    ast.parse(text, feature_version=(3, 9))
    (tmp_path / "preprocessing.py").write_text(text)
    chain().write(tmp_path / "preprocessing.json")
    x = eeg(6, 300, 500.0)
    np.save(tmp_path / "x.npy", x)
    program = (
        "import sys; sys.modules['scipy'] = None; sys.path.insert(0, '.')\n"
        "import numpy as np, preprocessing as p\n"
        "assert p.sosfilt is None\n"
        "np.save('y.npy', p.Streaming('preprocessing.json').push(np.load('x.npy')))\n"
        "assert not {'targets', 'export', 'distill'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, check=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "y.npy"), Streaming(chain().to_dict()).push(x), atol=1e-7
    )
