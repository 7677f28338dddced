import fcntl
import os
import shutil
import signal as signals
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from distill.dataset import load_windows, write_windows
from distill.recipe import load_recipe
from distill.signal import SignalSpec
from distill.window_store import Source, store
from distill.windows import Windows, concatenate
from targets.errors import InputError

SIGNAL = SignalSpec(ch_names=("C3", "C4"), sfreq=100, n_times=50)
LABELS = ("rest", "task")


def part(k, signal=SIGNAL):
    """3 + k windows of subject k."""
    n = 3 + k
    x = np.random.default_rng(k).standard_normal((n, 2, 50)).astype(np.float32)
    y = np.arange(n, dtype=np.int64) % 2
    return Windows(x, y, np.full(n, f"S{k}"), np.full(n, "0"), LABELS, signal)


def given(n, read=part):
    return [Source(f"S{k}", lambda k=k: [read(k)]) for k in range(n)]


def test_what_is_written_part_by_part_is_what_would_have_been_joined(tmp_path):
    stored = store(given(4), SIGNAL, LABELS, tmp_path / "w")
    joined = concatenate([part(k) for k in range(4)])
    assert isinstance(stored.x, np.memmap)
    np.testing.assert_array_equal(stored.x, joined.x)
    assert stored.subject.tolist() == joined.subject.tolist()
    assert stored.hash == joined.hash
    stored.__dict__.pop("hash")
    assert stored.hash == joined.hash  # not only the one that was noted: that of what lies there
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == ["index.json", "x.npy"]


def test_a_source_may_give_several_recordings(tmp_path):
    both = [Source("a", lambda: iter([part(0), part(1)])), Source("b", lambda: [part(2)])]
    assert (
        store(both, SIGNAL, LABELS, tmp_path / "w").hash
        == concatenate([part(k) for k in range(3)]).hash
    )


class Stopped(Exception):
    """Stands for whatever ends a process."""


def interrupted(folder, n, stop, key=""):
    def read(k):
        if k == stop:
            raise Stopped
        return part(k)

    with pytest.raises(Stopped):
        store(given(n, read), SIGNAL, LABELS, folder, key=key)


def counting(seen):
    def read(k):
        seen.append(k)
        return part(k)

    return read


@pytest.mark.parametrize("torn", [b"", b"torn samples", None])
def test_an_interrupted_writer_goes_on_where_it_stood(tmp_path, torn):
    interrupted(tmp_path / "w", 4, stop=2)
    assert not (tmp_path / "w").exists()
    partial = tmp_path / "w.partial"
    if torn is None:  # killed while it wrote the journal's last line
        journal = partial / "journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-9])
    else:
        with (partial / "x.npy").open("ab") as handle:
            handle.write(torn)
    seen = []
    stored = store(given(4, counting(seen)), SIGNAL, LABELS, tmp_path / "w")
    assert seen == ([2, 3] if torn is not None else [1, 2, 3])
    assert stored.hash == concatenate([part(k) for k in range(4)]).hash
    assert not partial.exists()


@pytest.mark.parametrize("change", ["sources", "key", "labels", "samples"])
def test_what_belongs_to_something_else_is_not_taken_up(tmp_path, change):
    interrupted(tmp_path / "w", 4, stop=2, key="a")
    if change == "samples":
        os.truncate(tmp_path / "w.partial" / "x.npy", 200)
    seen = []
    stored = store(
        given(3 if change == "sources" else 4, counting(seen)), SIGNAL,
        ("left", "right") if change == "labels" else LABELS, tmp_path / "w",
        key="b" if change == "key" else "a",
    )  # fmt: skip
    assert seen == list(range(3 if change == "sources" else 4))
    assert len(stored) == sum(3 + k for k in seen)


def test_a_killed_process_loses_one_recording_at_most(tmp_path):
    code = """
        import os, signal, sys
        sys.path.insert(0, sys.argv[2])
        from pathlib import Path
        import test_window_store as t

        def read(k):
            if k == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return t.part(k)

        t.store(t.given(4, read), t.SIGNAL, t.LABELS, Path(sys.argv[1]) / "w")
    """
    here = os.path.dirname(__file__)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path), here])
    assert done.returncode == -signals.SIGKILL
    seen = []
    stored = store(given(4, counting(seen)), SIGNAL, LABELS, tmp_path / "w")
    assert seen == [2, 3]
    assert stored.hash == concatenate([part(k) for k in range(4)]).hash


def test_two_writers_do_not_mix(tmp_path):
    partial = tmp_path / "w.partial"
    partial.mkdir()
    with (partial / "x.npy").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is writing these windows"):
            store(given(1), SIGNAL, LABELS, tmp_path / "w")


def test_a_source_of_another_contract_is_refused(tmp_path):
    other = SIGNAL.model_copy(update={"scale": 2.0})
    with pytest.raises(InputError, match=r"S1: signal contract differs: scale: 1.0 != 2.0"):
        store(given(2, lambda k: part(k, other if k else SIGNAL)), SIGNAL, LABELS, tmp_path / "w")


def test_nothing_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match="no recording gave a window"):
        store([], SIGNAL, LABELS, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_recipes_windows_are_written_once(tmp_path, tiny_recipe, windows):
    recipe = load_recipe(tiny_recipe)
    written = write_windows(recipe, tmp_path / "w")
    assert written.hash == windows.hash == load_windows(recipe).hash
    before = (tmp_path / "w" / "x.npy").stat().st_mtime_ns
    assert write_windows(recipe, tmp_path / "w").hash == windows.hash
    assert (tmp_path / "w" / "x.npy").stat().st_mtime_ns == before
    shutil.rmtree(tmp_path / "w")
    part(0).save(tmp_path / "w")
    with pytest.raises(InputError, match="signal contract differs: ch_names"):
        write_windows(recipe, tmp_path / "w")


def test_memory_does_not_grow_with_the_set(tmp_path):
    # scripts/memory_of_sets.py measures it on whole recipes; here 240 MB, which must cost a tenth.
    code = """
        import sys
        from pathlib import Path
        import numpy as np
        from distill.signal import SignalSpec
        from distill.window_store import Source, store
        from distill.windows import Windows

        signal = SignalSpec(ch_names=tuple("abcdefgh"), sfreq=100, n_times=500)
        n = 250  # 4 MB

        def part(k):
            x = np.full((n, 8, 500), k, np.float32)
            return Windows(x, np.arange(n) % 2, np.full(n, str(k)), np.full(n, "0"), ("a", "b"),
                           signal)

        def status(key):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith(key + ":"):
                    return int(line.split()[1]) / 1024

        sources = [Source(str(k), lambda k=k: [part(k)]) for k in range(60)]
        before = status("VmHWM")
        windows = store(sources, signal, ("a", "b"), Path(sys.argv[1]) / "w")
        written = status("VmHWM") - before
        anonymous, total = status("RssAnon"), 0.0
        half = windows.select(windows.y == 0)
        for rows in np.random.default_rng(0).permutation(len(half)).reshape(-1, 50):
            total += float(half.x[rows].mean())
        print(windows.x.nbytes / 2**20, written, status("RssAnon") - anonymous, total)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    size, written, trained, total = (float(word) for word in out.split())
    assert size > 228
    assert written < 24
    assert trained < 8
    assert total == pytest.approx(150 * 29.5)
