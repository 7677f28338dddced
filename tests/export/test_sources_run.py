"""A run folder as an input: student, windows, teacher, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import runs
import torch

from distill.run import run
from distill.training import predict
from export.sources import open_run, open_source
from targets.errors import InputError


@pytest.fixture(scope="module")
def source(finished_run):
    return open_run(finished_run)


def test_the_selected_student_with_contract_windows_and_facts(source, finished_run):
    results = json.loads((finished_run / "results.json").read_text())
    assert (source.kind, source.name, source.facts["arm"]) == ("run", "small", "distilled")
    assert source.facts["results"] == results
    assert source.facts["selected_seed"] == results["selected_seed"]
    assert source.facts["simulated"]
    assert source.what.startswith("MiC student of small, distilled"), "no path of this machine"
    assert source.labels == tuple(results["labels"])
    assert {name: part.subjects for name, part in source.splits.items()} == {
        "train": ("S00", "S01", "S02", "S03"), "val": ("S04",), "test": ("S05",),
    }  # fmt: skip
    folder = finished_run / f"seed_{results['selected_seed']}" / "distilled"
    trained = np.load(folder / "test_logits.npy")
    assert np.allclose(predict(source.student, source.splits["test"].x), trained, atol=1e-4)
    assert source.provenance["recipe_hash"]
    assert "exported_with" not in source.provenance


def test_the_other_arm_is_another_student(source, finished_run):
    other = open_run(finished_run, "matched")
    assert other.facts["weights"]["file"].endswith("matched/weights.safetensors")
    assert other.weights_hash != source.weights_hash
    assert open_run(finished_run).weights_hash == source.weights_hash
    with pytest.raises(InputError, match="no such arm"):
        open_run(finished_run, "teacher")


def test_the_teacher_and_its_soft_targets_are_made_when_asked_for(source):
    train = source.splits["train"]
    targets = source.soft_targets()
    assert targets.shape == (len(train), 2)
    teacher = source.make_teacher()
    assert not teacher.training
    assert np.allclose(predict(teacher, train.x[:4]), targets[:4], atol=1e-4)


def test_unfinished_runs_and_comparisons_are_refused(finished_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy)
    state = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(state | {"status": "running"}))
    with pytest.raises(InputError, match=r"not finished.*--resume"):
        open_run(copy)
    (copy / "run.json").write_text(json.dumps(state | {"kind": "comparison"}))
    with pytest.raises(InputError, match="comparison"):
        open_run(copy)


def test_a_baseline_on_its_own_electrodes(tmp_path):
    student = '[student]\nname = "eegnet"\nch_names = ["C4", "C3", "Cz"]\nepochs = 1\nbatch = 16\n'
    head, _, _ = runs.RECIPE.replace("seeds = [0, 1]", "seeds = [3]").partition("[student]")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(head + student + '\n[method]\nname = "kd"\n')
    run(recipe, tmp_path / "run")
    source = open_source(str(tmp_path / "run"))
    assert source.what.startswith("EEGNet student")
    assert source.signal.ch_names == ("C4", "C3", "Cz")
    x = source.splits["val"].x
    assert x.shape[1:] == (3, 400)
    with torch.no_grad():
        assert source.student(torch.from_numpy(x[:1])).shape == (1, 2)
    assert source.make_teacher is None
    assert "electrodes" in source.no_teacher
    assert source.soft_targets().shape == (len(source.splits["train"]), 2)


def test_an_unknown_input_lists_the_four_forms_and_a_near_miss(finished_run):
    with pytest.raises(InputError) as caught:
        open_source(str(finished_run.parent / "smalll"))
    text = str(caught.value)
    assert 'Did you mean "small"?' in text
    assert all(word in text for word in ("braindecode:EEGNet", "module:", ".onnx", "run folder"))
    with pytest.raises(InputError, match="--weights"):
        open_source(str(finished_run), weights=finished_run / "w")
