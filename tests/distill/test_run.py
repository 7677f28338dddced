import json

import eeg_files
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill import run as run_module
from distill import stages
from distill.arms import Job
from distill.checkpoints import state_hash
from distill.folder import RunFolder, open_folder
from distill.metrics import evaluate
from distill.mic import MiC
from distill.recipe import load_recipe
from distill.run import ARMS, run
from distill.stages import load_student, load_teacher, make_student
from distill.training import history, predict
from distill.windows import Windows, split_windows
from targets.errors import InputError


def seed_folder(finished):
    return finished.folder / "seed_0"


def train_seed(recipe_path, splits, folder, seed):
    """Teacher and both arms of one seed, on the given splits."""
    here = RunFolder(folder, load_recipe(recipe_path))
    here.__dict__["splits"] = splits
    stages.fit_teacher(here, seed)
    for arm in ("distilled", "matched"):
        stages.fit_student(here, Job(arm, seed))
    return here


def test_folder_holds_everything_and_nothing_half_written(finished):
    names = {p.relative_to(finished.folder).as_posix() for p in finished.folder.rglob("*")}
    assert {
        "recipe.toml", "run.json", "results.json", "windows/x.npy", "windows/index.json",
        "seed_0/distilled/router.json", "seed_0/distilled/router.png",
        "seed_0/distilled/losses.png", "seed_0/matched/losses.png",
        *(f"seed_0/{arm}/scores.json" for arm in ARMS),
        *(f"seed_0/{arm}/test_logits.npy" for arm in ARMS),
        *(f"seed_0/{arm}/weights.safetensors" for arm in ARMS),
        *(f"seed_0/{arm}/checkpoints/best.ckpt" for arm in ARMS),
    } <= names  # fmt: skip
    assert not any(".part" in name or "cache" in name for name in names)
    assert (finished.folder / "recipe.toml").read_text() == finished.recipe_path.read_text()


def test_run_json_says_what_a_figure_needs(finished):
    state = json.loads((finished.folder / "run.json").read_text())
    assert state["status"] == "complete"
    assert state["recipe_hash"] == finished.recipe.hash
    assert state["recipe"]["teacher"]["n_layers"] == 1
    assert state["versions"]["torch"] == torch.__version__.partition("+")[0] or torch.__version__
    assert set(state["git"]) == {"commit", "dirty"}
    assert state["windows_hash"] == Windows.load(finished.folder / "windows").hash


def test_results_are_whole(finished):
    results = finished.results
    assert results == json.loads((finished.folder / "results.json").read_text())
    assert list(results["arms"]) == ["teacher", "distilled", "matched"]
    for arm in results["arms"].values():
        assert set(arm) == {"balanced_accuracy", "auroc", "auc_pr", "teacher_agreement",
                            "by_subject"}  # fmt: skip
        assert list(arm["by_subject"]) == ["S03"]
        assert all(0 <= arm[name]["mean"] <= 1 for name in arm if name != "by_subject")
    assert results["arms"]["teacher"]["teacher_agreement"]["mean"] == 1.0
    assert results["split"] == {
        "train": {"subjects": ["S00", "S01"], "windows": 16},
        "val": {"subjects": ["S02"], "windows": 8},
        "test": {"subjects": ["S03"], "windows": 8},
    }
    assert (results["selected_seed"], results["seeds"]) == (0, [0])
    assert results["curves"]["distilled"] == history(seed_folder(finished) / "distilled")
    assert results["router"]["layers"] == ["blocks.0"]
    assert sum(results["router"]["mean_weight"]) == pytest.approx(1)


def test_student_counts_are_the_deployed_ones(finished):
    models, windows = finished.results["models"], Windows.load(finished.folder / "windows")
    student = make_student(finished.recipe, windows, 0)
    assert models["student"]["params"] == sum(p.numel() for p in student.deploy().parameters())
    assert models["student"]["params"] < sum(p.numel() for p in student.parameters())
    assert models["teacher"]["params"] > 100 * models["student"]["params"]
    assert models["teacher"]["name"] == "labram (1 layers)"
    assert models["teacher"]["macs"] > models["student"]["macs"] > 1e4


@pytest.mark.parametrize("arm", ARMS)
def test_saved_weights_give_the_reported_figures(finished, splits, arm):
    here, test = open_folder(finished.folder), splits["test"]
    if arm == "teacher":
        network = load_teacher(here, 0)
        assert state_hash(network.model) == finished.results["teacher_hash"]
    else:
        network = load_student(here, Job(arm, 0))
    found = evaluate(predict(network, test.x), test.y)
    for name, value in found.items():
        assert finished.results["arms"][arm][name]["values"] == [pytest.approx(value, abs=1e-5)]


def test_distilled_and_matched_start_from_equal_weights_and_end_apart(
    tiny_recipe, splits, tmp_path, monkeypatch
):
    starts = {}

    def watch(task, *args, name, **kwargs):
        if isinstance(task.network, MiC):
            starts[name] = {k: v.clone() for k, v in task.network.state_dict().items()}
        return fit(task, *args, name=name, **kwargs)

    fit = stages.fit
    monkeypatch.setattr(stages, "fit", watch)
    here = train_seed(tiny_recipe, splits, tmp_path, 5)
    distilled, matched = starts["seed 5 distilled"], starts["seed 5 matched"]
    assert all(torch.equal(distilled[key], matched[key]) for key in distilled)
    ends = [
        load_file(here.job(Job(arm, 5)) / "weights.safetensors") for arm in ("distilled", "matched")
    ]
    assert not all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    torch.manual_seed(123)
    fresh = make_student(here.recipe, splits["train"], 5).state_dict()
    assert all(torch.equal(fresh[key], distilled[key]) for key in fresh)


def test_the_test_split_is_never_trained_or_selected_on(finished, tiny_recipe, tmp_path):
    """Other test subjects' labels, same everything else: the same weights."""
    recipe = load_recipe(tiny_recipe)
    windows = Windows.load(finished.folder / "windows")
    y = np.where(windows.subject == "S03", 1 - windows.y, windows.y)
    spoiled = Windows(windows.x, y, windows.subject, windows.session, windows.labels,
                      windows.signal)  # fmt: skip
    splits = split_windows(spoiled, "cross_subject", recipe.split.groups())
    train_seed(tiny_recipe, splits, tmp_path, 0)
    for arm in ARMS:
        a = load_file(seed_folder(finished) / arm / "weights.safetensors")
        b = load_file(tmp_path / "seed_0" / arm / "weights.safetensors")
        assert all(torch.equal(a[key], b[key]) for key in a), arm


def test_a_finished_run_is_not_touched_by_resume(finished):
    before = {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")}
    assert run(finished.recipe_path, finished.folder, resume=True) == finished.results
    assert {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")} == before


def test_a_second_run_without_resume_is_refused(finished):
    with pytest.raises(InputError, match="a run is already here"):
        run(finished.recipe_path, finished.folder)


def test_a_changed_recipe_is_refused(finished, tmp_path):
    other = eeg_files.recipe(tmp_path, {"seeds = [0]": "seeds = [0, 1]"})
    with pytest.raises(InputError, match="the recipe has changed since this run began"):
        run(other, finished.folder, resume=True)


def test_resume_of_nothing_begins_and_leftovers_of_a_kill_go(tiny_recipe, tmp_path, monkeypatch):
    def killed(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "fit_teacher", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_recipe, tmp_path / "r", resume=True)
        leftover = tmp_path / "r" / ".windows.abc.part"
        leftover.mkdir()
        (leftover / "x.npy").write_bytes(b"0" * 99)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_recipe, tmp_path / "r", resume=True)
    assert not leftover.exists()
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "running"
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == [
        "recipe.toml", "run.json", "windows",
    ]  # fmt: skip


def test_an_interrupt_before_the_windows_are_ready_leaves_no_folder(
    tiny_recipe, tmp_path, monkeypatch
):
    def killed(_recipe, _folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "write_windows", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_recipe, tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


def test_best_seed_is_chosen_on_validation_and_all_are_reported(finished, splits, tmp_path):
    recipe = finished.recipe.model_copy(update={"seeds": (0, 1)})
    here = RunFolder(tmp_path, recipe)
    here.__dict__["splits"] = splits
    for seed, (val, test) in {0: (0.6, 0.9), 1: (0.8, 0.5)}.items():
        for arm in ARMS:
            source, folder = seed_folder(finished) / arm, tmp_path / f"seed_{seed}" / arm
            folder.mkdir(parents=True)
            scores = json.loads((source / "scores.json").read_text())
            scores["val"]["auroc"], scores["test"]["auroc"] = val, test
            (folder / "scores.json").write_text(json.dumps(scores))
            (folder / "weights.safetensors").write_bytes(
                (source / "weights.safetensors").read_bytes()
            )
    results = run_module.summarise(here)
    assert results["selected_seed"] == 1
    assert results["arms"]["distilled"]["auroc"] == {
        "mean": 0.7, "std": pytest.approx(0.282843), "values": [0.9, 0.5],
    }  # fmt: skip
