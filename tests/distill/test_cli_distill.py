"""dlink-distill as people meet it: what it says when something is wrong, and what it leaves."""

import csv
import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import eeg_files
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from distill.checkpoints import save_weights
from distill.cli import main
from distill.signal import SignalSpec
from distill.teachers import build_teacher

SIGNAL = SignalSpec(ch_names=eeg_files.CH_NAMES, sfreq=200, n_times=400, scale=100.0)


def refused(recipe: Path, out: Path, *options: str) -> str:
    """The one sentence with which a run is refused; nothing new may lie on disk."""
    before = sorted(recipe.parent.rglob("*"))
    result = CliRunner().invoke(main, [str(recipe), "-o", str(out), *options])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("dlink-distill: error: ")
    assert sorted(recipe.parent.rglob("*")) == before
    return result.stderr


def one_sentence(text: str) -> bool:
    return text.count("\n") == 1 and text.endswith(".\n")


# Recordings -------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Eight good EDF files; the recipe that reads them lies beside their folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("DLINK_DATA", str(folder))
    return eeg_files.write_dataset(folder)


@pytest.fixture
def recipe(tmp_path, data):
    return eeg_files.recipe(tmp_path, text=eeg_files.FILES)


def as_fif(path: Path, volts: np.ndarray) -> None:
    path.unlink()
    eeg_files.write_fif(path.with_name(path.stem + "_raw.fif"), volts)


def spoiled(value: float) -> np.ndarray:
    volts = eeg_files.noise()
    volts[2, 700:710] = value
    return volts


def flat() -> np.ndarray:
    volts = eeg_files.noise()
    volts[2] = 12e-6
    return volts


NAMES = [f"EEG {name}" for name in eeg_files.CH_NAMES]
BAD_RECORDINGS = {
    "missing": (
        lambda p: p.unlink(),
        "[split]: split 'val' holds no window of class task.",
    ),
    "truncated": (
        lambda p: p.write_bytes(p.read_bytes()[:-1000]),
        "S02_2.edf: recording is truncated (found 12280 bytes, allowed 13280 as its header says). "
        "Copy the file again",
    ),
    "cut in its header": (
        lambda p: p.write_bytes(p.read_bytes()[:100]),
        "S02_2.edf: recording is truncated (found 100 bytes",
    ),
    "not EDF at all": (
        lambda p: p.write_bytes(b"GIF89a" * 1000),
        "S02_2.edf: recording cannot be read",
    ),
    "wrong channel names": (
        lambda p: eeg_files.write_edf(p, eeg_files.noise(), ["A1", "A2", "EEG Cz", "EEG C4"]),
        "S02_2.edf: channels C3, Fz are not in the recording (allowed A1, A2, EEG Cz, EEG C4). "
        "Correct ch_names, or list the text to drop",
    ),
    "NaN": (
        lambda p: as_fif(p, spoiled(np.nan)),
        "S02_2_raw.fif: channels C4 hold NaN or infinite samples. Repair or leave out",
    ),
    "infinite": (
        lambda p: as_fif(p, spoiled(np.inf)),
        "S02_2_raw.fif: channels C4 hold NaN or infinite samples",
    ),
    "flat": (
        lambda p: eeg_files.write_edf(p, flat(), NAMES),
        "S02_2.edf: channels EEG C4 are flat (found standard deviation below 1 nV). Repair",
    ),
    "too low a rate": (
        lambda p: eeg_files.write_edf(p, eeg_files.noise(sfreq=64), NAMES, 64),
        "S02_2.edf: sampling rate is too low for the signal contract (found 64 Hz, allowed > 90 Hz)"
        ". Use a recording at a higher rate",
    ),
    "too short": (
        lambda p: eeg_files.write_edf(p, eeg_files.noise(1.0), NAMES),
        "S02_2.edf: recording is shorter than one window (found 1 s, allowed >= 2 s)",
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("spoil", "message"), BAD_RECORDINGS.values(), ids=BAD_RECORDINGS)
def test_a_bad_recording(data, recipe, tmp_path, spoil, message):
    spoil(data / "S02_2.edf")
    text = refused(recipe, tmp_path / "out")
    assert message in text
    assert one_sentence(text)


def test_a_missing_subject_and_a_missing_folder(data, recipe, tmp_path):
    for label in (1, 2):
        (data / f"S03_{label}.edf").unlink()
    text = refused(recipe, tmp_path / "out")
    assert "subject '03' of split 'test' is not in the data (allowed 00, 01, 02)" in text
    (data / "S00_1.edf").parent.rename(tmp_path / "elsewhere")
    assert "data: data folder not found. Set DLINK_DATA" in refused(recipe, tmp_path / "out")


def test_a_subject_in_two_splits(data, tmp_path):
    recipe = eeg_files.recipe(tmp_path, {'val = ["02"]': 'val = ["01", "02"]'}, eeg_files.FILES)
    text = refused(recipe, tmp_path / "out")
    assert "subject '01' stands twice in the splits (found train and val). Give each" in text
    assert one_sentence(text)


def test_the_corrected_recipe_runs_into_the_same_folder(data, recipe, tmp_path):
    good = (data / "S02_2.edf").read_bytes()
    (data / "S02_2.edf").write_bytes(good[:-1000])
    refused(recipe, tmp_path / "out")
    (data / "S02_2.edf").write_bytes(good)
    result = CliRunner().invoke(main, [str(recipe), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "results.json").read_text())["labels"] == ["rest", "task"]
    assert "matched MiC" in result.stdout


# Recipes ----------------------------------------------------------------------------------------


def test_unknown_key_with_line_and_suggestion(tmp_path):
    recipe = eeg_files.recipe(tmp_path, {"n_layers = 1": "n_layer = 1"})
    line = recipe.read_text().splitlines().index("n_layer = 1") + 1
    text = refused(recipe, tmp_path / "out")
    assert f"line {line}: key 'teacher.n_layer' is unknown; did you mean 'n_layers'?" in text


def test_all_faults_of_a_recipe_at_once(tmp_path):
    changes = {"n_layers = 1": "n_layer = 1", "seeds = [0]": "seed = 0", "n_subjects = 4": ""}
    changes["seconds = 2.0\nband"] = "seconds = 0\nband"
    text = refused(eeg_files.recipe(tmp_path, changes), tmp_path / "out")
    assert "recipe has 3 faults\n" in text
    assert text.count("\n  line ") == 3


def test_missing_recipe(tmp_path):
    assert "recipe not found" in refused(tmp_path / "none.toml", tmp_path / "out")


def test_sizes_no_student_can_have_are_refused_before_training(tmp_path):
    recipe = eeg_files.recipe(tmp_path, text=eeg_files.SIMULATED + "kernel = 33\n")
    assert "[student]: stem: padding would be one-sided" in refused(recipe, tmp_path / "out")


# Checkpoints ------------------------------------------------------------------------------------


def with_checkpoint(tmp_path: Path, path: Path, name: str = "labram") -> Path:
    change = f'name = "{name}"\ncheckpoint = "{path}"'
    return eeg_files.recipe(tmp_path, {'name = "labram"': change})


@pytest.fixture(scope="module")
def labram_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "labram.safetensors"
    save_weights(build_teacher("labram", SIGNAL, 2, n_layers=1).model, path)
    return path


def test_checkpoint_of_another_architecture(tmp_path, labram_weights):
    recipe = with_checkpoint(tmp_path, labram_weights, "cbramod")
    text = refused(recipe, tmp_path / "out")
    assert "labram.safetensors: checkpoint is of another model; missing: " in text
    assert "unexpected: blocks.0." in text
    assert " more" in text
    assert one_sentence(text)


def test_checkpoint_of_another_depth(tmp_path, labram_weights):
    recipe = with_checkpoint(tmp_path, labram_weights)
    recipe.write_text(recipe.read_text().replace("n_layers = 1", "n_layers = 2"))
    text = refused(recipe, tmp_path / "out")
    assert "missing: blocks.1." in text
    assert "unexpected" not in text


def test_checkpoint_with_one_renamed_key(tmp_path, labram_weights):
    state = load_file(labram_weights)
    state["blocks.0.norm1.gain"] = state.pop("blocks.0.norm1.weight")
    torch.save(state, tmp_path / "renamed.pt")
    text = refused(with_checkpoint(tmp_path, tmp_path / "renamed.pt"), tmp_path / "out")
    assert "missing: blocks.0.norm1.weight; unexpected: blocks.0.norm1.gain. Give the" in text


def test_pickled_and_missing_checkpoints(tmp_path):
    torch.save({"model": build_teacher("cbramod", SIGNAL, 2, n_layers=1).model}, tmp_path / "m.pt")
    text = refused(with_checkpoint(tmp_path, tmp_path / "m.pt"), tmp_path / "out")
    assert "m.pt: checkpoint holds Python objects, not only weights, and is not loaded" in text
    text = refused(with_checkpoint(tmp_path, tmp_path / "none.pt"), tmp_path / "out")
    assert "none.pt: checkpoint not found" in text


# Where to ---------------------------------------------------------------------------------------


def test_unwritable_output(tmp_path):
    recipe = eeg_files.recipe(tmp_path)
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "run", Path("/dev/null/run")):
        text = refused(recipe, out)
        assert f"{out}: output cannot be written" in text
        assert "Choose a folder that you may write to with -o" in text
    assert "file: output is a file, not a folder" in refused(recipe, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_of_something_else(tmp_path):
    recipe = eeg_files.recipe(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    text = refused(recipe, tmp_path / "out")
    assert "output folder is not empty and holds no run. Choose another folder" in text
    assert "not empty" in refused(recipe, tmp_path / "out", "--resume")


def test_a_run_that_exists_and_a_recipe_that_changed(finished, tmp_path):
    recipe = eeg_files.recipe(tmp_path)
    text = refused(recipe, finished.folder)
    assert "a run is already here. Continue it with --resume" in text
    other = eeg_files.recipe(tmp_path, {"epochs = 1\nbatch = 8\n\n": "epochs = 2\nbatch = 8\n\n"})
    text = refused(other, finished.folder, "--resume")
    assert "the recipe has changed since this run began (found " in text
    assert one_sentence(text)


def test_show_prints_the_table_again(finished, tmp_path):
    result = CliRunner().invoke(main, ["show", str(finished.folder)])
    assert result.exit_code == 0
    for word in ("teacher labram (1 layers)", "distilled MiC", "matched MiC", "S03", "auroc"):
        assert word in result.stdout
    result = CliRunner().invoke(main, ["show", str(tmp_path)])
    assert result.exit_code == 2
    assert "results file not found" in result.stderr
    (tmp_path / "results.json").write_text('{"measurements": []}')
    result = CliRunner().invoke(main, ["show", str(tmp_path)])
    assert result.exit_code == 2
    assert "these are no results of a run" in result.stderr


# The console script -----------------------------------------------------------------------------


def script(*args: object, cwd: Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [eeg_files.CONSOLE_SCRIPT, *map(str, args)], cwd=cwd, capture_output=True, text=True,
        timeout=120, check=False, **options,
    )  # fmt: skip


@pytest.fixture
def crowded(tmp_path):
    """A folder with a user's own modules under our packages' names."""
    for name in ("export", "distill", "targets", "firmware_bench"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the user\\'s own file ran')\n")
    return tmp_path


def test_help_works_beside_a_users_own_modules_and_shows_an_example(crowded):
    done = script("--help", cwd=crowded)
    assert done.returncode == 0, done.stderr
    assert "dlink-distill examples/demo.toml -o runs/demo" in done.stdout
    assert "show" in done.stdout
    assert "--resume" in script("run", "--help", cwd=crowded).stdout


def test_a_failing_recipe_beside_a_users_own_modules(crowded):
    recipe = eeg_files.recipe(crowded, {"[student]": "[studnt]"})
    done = script(recipe.name, "-o", "out", cwd=crowded)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("dlink-distill: error: recipe.toml: recipe has a fault\n")
    assert "did you mean 'student'?" in done.stderr
    assert not (crowded / "out").exists()


def test_help_is_quick(tmp_path):
    code = (
        "import sys; from distill.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'mne', 'lightning', 'numpy', 'braindecode'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True,
                          timeout=60, check=True, cwd=tmp_path)  # fmt: skip
    assert done.stdout.splitlines()[-1] == "set()"


# Interruption -----------------------------------------------------------------------------------

LONG = {"epochs = 1\nbatch = 8\n\n": "epochs = 60\nbatch = 8\n\n"}


def stop(recipe: Path, out: Path, after: int, number: int, *options: str) -> tuple[int, str]:
    """Run until the teacher's log tells of epoch `after`, then send the signal `number`."""
    process = subprocess.Popen(
        [eeg_files.CONSOLE_SCRIPT, str(recipe), "-o", str(out), "--threads", "1", *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while max(epochs(out), default=-1) < after:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    return process.returncode, text


def epochs(out: Path, attempt: str = "*") -> list[int]:
    """Epochs of the teacher whose end is in the log."""
    found = []
    for path in sorted(out.glob(f"seed_0/teacher/log/attempt_{attempt}/metrics.csv")):
        with path.open(newline="") as handle:
            found += [int(row["epoch"]) for row in csv.DictReader(handle) if row.get("val_loss")]
    return found


@pytest.mark.slow
def test_a_run_killed_then_interrupted_then_resumed_ends_like_one_that_was_not(tmp_path):
    recipe, out = eeg_files.recipe(tmp_path, LONG), tmp_path / "out"
    code, _ = stop(recipe, out, 3, signal.SIGKILL)
    assert code == -signal.SIGKILL
    killed = max(epochs(out))

    code, text = stop(recipe, out, killed + 4, signal.SIGINT, "--resume")
    assert code == 130
    assert text.strip().splitlines()[-1] == (
        "dlink-distill: interrupted; nothing half-written was left"
    )
    assert "Traceback" not in text
    assert not list(out.rglob("*.part"))
    assert not (out / "results.json").exists()

    options = [str(recipe), "-o", str(out), "--resume", "--threads", "1"]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.output
    attempts = [epochs(out, str(k)) for k in range(3)]
    for before, after in itertools.pairwise(attempts):
        assert after[0] in (before[-1], before[-1] + 1)  # at most one epoch again
    assert attempts[2][-1] == 59

    whole = tmp_path / "whole"
    result = CliRunner().invoke(main, [str(recipe), "-o", str(whole), "--threads", "1"])
    assert result.exit_code == 0, result.output
    for arm in ("teacher", "distilled", "matched"):
        one, other = (load_file(f / "seed_0" / arm / "weights.safetensors") for f in (out, whole))
        assert all(torch.equal(one[key], other[key]) for key in one), arm
    one, other = (json.loads((f / "results.json").read_text()) for f in (out, whole))
    curves = one.pop("curves"), other.pop("curves")
    assert one == other
    # Each stop may cost the log of the epoch that it fell into, not of any other.
    assert len(curves[0]["teacher"]["epoch"]) >= 60 - 2
    for arm, curve in curves[0].items():
        kept = [int(epoch) for epoch in curve["epoch"]]
        for name, values in curves[1][arm].items():
            assert curve[name] == [values[epoch] for epoch in kept], (arm, name)
