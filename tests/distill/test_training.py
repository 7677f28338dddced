import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from distill.cache import teacher_outputs
from distill.methods.dlink import DLink
from distill.methods.none import Labels
from distill.mic import MiC
from distill.teachers import build_teacher
from distill.training import (
    EpochShuffle,
    FitOptions,
    StudentTask,
    TeacherTask,
    WindowSet,
    fit,
    history,
    predict,
)
from targets.errors import InputError

OPTIONS = FitOptions(epochs=4, batch=6, lr=1e-3, weight_decay=1e-2, seed=3)


def teacher_task(splits, options=OPTIONS, kind=TeacherTask):
    torch.manual_seed(0)
    return kind(build_teacher("labram", splits["train"].signal, 2, n_layers=1), 2, options)


def student_task(splits, options=OPTIONS, kind=StudentTask, method=None):
    torch.manual_seed(0)
    return kind(MiC(4, 400, 2), method or Labels(), 2, options)


def train(task, splits, folder, outputs=None):
    return fit(
        task, WindowSet(splits["train"], outputs), WindowSet(splits["val"]), folder, name="test"
    )


def states_equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def last_state(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


# Order ------------------------------------------------------------------------------------------


def test_shuffle_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        sampler = EpochShuffle(50, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert sorted(order(0, 0)) == list(range(50))
    assert order(0, 3) == order(0, 3)
    assert len({tuple(order(s, e)) for s in range(3) for e in range(3)}) == 9
    sampler = EpochShuffle(50, 0)
    assert list(sampler) == list(sampler)
    assert len(sampler) == 50


@pytest.mark.parametrize(("n", "size"), [(7, 3), (7, 14), (7, 20), (5, 5)])
def test_epochs_of_a_given_size_cycle_through_whole_permutations(n, size):
    def epoch(k):
        sampler = EpochShuffle(n, 0, size)
        sampler.set_epoch(k)
        assert len(sampler) == size
        return list(sampler)

    row = [index for k in range(n) for index in epoch(k)]  # n * size windows: size permutations
    turns = [row[start : start + n] for start in range(0, len(row), n)]
    assert len(turns) == size
    assert all(sorted(turn) == list(range(n)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    plain = EpochShuffle(n, 0)
    plain.set_epoch(2)
    assert turns[2] == list(plain)


def test_arms_of_other_training_sets_take_as_many_steps(splits, tmp_path):
    few = splits["train"].select(np.arange(5))
    options = replace(OPTIONS, epochs=1, epoch_windows=18)
    for name, windows in (("few", few), ("all", splits["train"])):
        task = student_task(splits, options)
        fit(task, WindowSet(windows), WindowSet(splits["val"]), tmp_path / name, name="test")
        assert last_state(tmp_path / name)["global_step"] == 3


def test_windows_without_a_label_train_and_count_in_no_metric(splits, tmp_path):
    def unlabelled(name, k):
        y = splits[name].y.copy()
        y[:k] = -1
        return replace(splits[name], y=y)

    assert WindowSet(unlabelled("train", 3))[0][1] == -1
    task = student_task(splits, replace(OPTIONS, epochs=1))
    parts = {"train": unlabelled("train", 3), "val": unlabelled("val", 2)}
    train(task, parts, tmp_path)
    labelled = splits["val"].select(np.arange(2, 8))
    logits = torch.from_numpy(predict(task.network, labelled.x))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labelled.y))
    assert history(tmp_path)["val_loss"][0] == pytest.approx(float(loss), rel=1e-5)


def test_window_set_gives_windows_and_what_the_teacher_says(splits, tmp_path):
    data = splits["val"]
    teacher = build_teacher("labram", data.signal, 2, n_layers=1).eval()
    outputs = teacher_outputs(teacher, data, tmp_path)
    assert len(WindowSet(data)) == 8
    rows = [5, 2]
    x, y = WindowSet(data).__getitems__(rows)
    np.testing.assert_array_equal(x, data.x[np.array(rows)])
    np.testing.assert_array_equal(y, data.y[np.array(rows)])
    _, _, logits, tokens = WindowSet(data, outputs).__getitems__(rows)
    np.testing.assert_array_equal(logits, outputs.logits[rows])
    np.testing.assert_array_equal(tokens.hidden(), outputs.hidden[np.array(rows)])
    np.testing.assert_array_equal(WindowSet(data)[5][0], data.x[5:6])


# One fit ----------------------------------------------------------------------------------------


def test_fit_writes_log_checkpoints_and_summary(splits, tmp_path):
    task = teacher_task(splits)
    start = {k: v.clone() for k, v in task.network.state_dict().items()}
    summary = train(task, splits, tmp_path)
    assert summary["metric"] == "val_auroc"
    assert 0 <= summary["best_epoch"] < 4
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents*"))
    curves = history(tmp_path)
    assert curves["epoch"] == [0.0, 1.0, 2.0, 3.0]
    assert {"train_loss", "val_loss", "val_auroc", "val_balanced_accuracy"} <= set(curves)
    assert curves["train_loss"][-1] < curves["train_loss"][0]
    assert curves["val_auroc"][summary["best_epoch"]] == pytest.approx(summary["value"])
    assert not all(torch.equal(start[k], v) for k, v in task.network.state_dict().items())


def test_network_holds_the_best_epoch_not_the_last(splits, tmp_path):
    task = teacher_task(splits)
    summary = train(task, splits, tmp_path)
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == summary["best_epoch"]
    assert last_state(tmp_path)["epoch"] == 3
    for key, value in task.state_dict().items():
        assert torch.equal(value, best["state_dict"][key])
    curves = history(tmp_path)
    assert curves["val_selection"][summary["best_epoch"]] == max(curves["val_selection"])


def test_progress_tells_the_metric_of_its_own_epoch(splits, tmp_path, capsys):
    train(teacher_task(splits), splits, tmp_path)
    shown = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if "epoch" in line]
    assert shown == [f"{value:.3f}" for value in history(tmp_path)["val_auroc"]]


def test_a_finished_fit_is_not_repeated(splits, tmp_path):
    train(student_task(splits), splits, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    task = student_task(splits)
    train(task, splits, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, best[key]) for key, value in task.state_dict().items())


def test_equal_seeds_train_equally_and_others_do_not(splits, tmp_path):
    def trained(name, seed):
        options = FitOptions(2, 6, 1e-3, 1e-2, seed)
        task = student_task(splits, options)
        train(task, splits, tmp_path / name)
        return task

    assert states_equal(trained("a", 0), trained("b", 0))
    assert not states_equal(trained("c", 0), trained("d", 1))


def test_distilled_student_logs_every_loss_under_its_name(splits, tmp_path):
    data = splits["train"]
    teacher = build_teacher("labram", data.signal, 2, n_layers=2).eval()
    outputs = teacher_outputs(teacher, data, tmp_path / "cache")
    method = DLink(2, teacher.layout, 2, 4)
    router_before = [p.clone() for p in method.router.parameters()]
    options = FitOptions(2, 8, 1e-3, 1e-2, 0)
    train(student_task(splits, options, method=method), splits, tmp_path / "fit", outputs)
    curves = history(tmp_path / "fit")
    terms = ("ce", "kd", "mimic", "magnitude", "phase", "router_ce", "collapse")
    for epoch in range(2):
        total = sum(curves[f"train_{term}"][epoch] for term in terms)
        assert total == pytest.approx(curves["train_loss"][epoch], rel=1e-4)
        assert curves["train_alpha_0"][epoch] + curves["train_alpha_1"][epoch] == pytest.approx(1)
    assert not all(
        torch.equal(a, b) for a, b in zip(router_before, method.router.parameters(), strict=True)
    )


def test_head_and_body_have_their_own_rates(splits):
    task = teacher_task(splits, FitOptions(2, 8, 1e-4, 0.05, 0, head_lr=7e-3))
    groups = task.configure_optimizers()["optimizer"].param_groups
    assert [g["lr"] for g in groups] == [1e-4, 7e-3]
    assert all(g["weight_decay"] == 0.05 for g in groups)


def test_divergence_is_told_as_such(splits, tmp_path):
    task = student_task(splits)
    with torch.no_grad():
        task.network.stem[0].weight.fill_(float("nan"))
    with pytest.raises(InputError, match=r"training diverged.*Lower lr"):
        train(task, splits, tmp_path)
    assert not (tmp_path / "done.json").exists()


# Interruption -----------------------------------------------------------------------------------


class Stops:
    """Ctrl-C at the second batch of the third epoch."""

    def training_step(self, batch, batch_index):
        if self.current_epoch == 2 and batch_index == 1:
            raise KeyboardInterrupt
        return super().training_step(batch, batch_index)


class StoppingTeacher(Stops, TeacherTask):
    pass


class StoppingStudent(Stops, StudentTask):
    pass


@pytest.mark.parametrize(
    ("make", "stopping"), [(teacher_task, StoppingTeacher), (student_task, StoppingStudent)]
)
def test_a_resumed_fit_equals_an_uninterrupted_one(make, stopping, splits, tmp_path):
    whole = make(splits)
    summary = train(whole, splits, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(make(splits, kind=stopping), splits, tmp_path / "parts")
    assert last_state(tmp_path / "parts")["epoch"] == 1
    assert not (tmp_path / "parts" / "done.json").exists()

    resumed = make(splits)
    assert train(resumed, splits, tmp_path / "parts") == summary
    assert states_equal(resumed, whole)
    one, other = (last_state(tmp_path / name) for name in ("whole", "parts"))
    for key, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][key]), key
    assert history(tmp_path / "parts") == history(tmp_path / "whole")
    # What the log says: the third epoch was begun twice, no other.
    assert [epochs_of(tmp_path / "parts", attempt) for attempt in (0, 1)] == [{0, 1}, {2, 3}]


def epochs_of(folder, attempt):
    with (folder / "log" / f"attempt_{attempt}" / "metrics.csv").open() as handle:
        return {int(row["epoch"]) for row in csv.DictReader(handle)}


def test_a_kill_between_training_and_summary_costs_nothing(splits, tmp_path):
    whole = student_task(splits)
    summary = train(whole, splits, tmp_path)
    (tmp_path / "done.json").unlink()
    again = student_task(splits)
    assert train(again, splits, tmp_path) == summary
    assert states_equal(again, whole)
    assert history(tmp_path)["epoch"] == [0.0, 1.0, 2.0, 3.0]


def test_a_checkpoint_cut_off_while_written_leaves_the_one_before(splits, tmp_path, monkeypatch):
    whole = student_task(splits)
    train(whole, splits, tmp_path / "whole")
    save = torch.save

    def cut_off(checkpoint, path):
        if checkpoint["epoch"] == 2:
            path.write_bytes(b"PK half")
            raise KeyboardInterrupt
        save(checkpoint, path)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(student_task(splits), splits, tmp_path / "parts")
    assert not list(tmp_path.rglob("*.part"))
    assert last_state(tmp_path / "parts")["epoch"] == 1
    resumed = student_task(splits)
    train(resumed, splits, tmp_path / "parts")
    assert states_equal(resumed, whole)


def test_history_joins_attempts_in_their_order(tmp_path):
    for attempt, rows in {
        0: "0,1,0.9\n1,2,0.8\n",
        2: "1,2,0.7\n2,3,0.6\n",
        10: "2,3,0.5\n",
    }.items():
        folder = tmp_path / "log" / f"attempt_{attempt}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("epoch,step,val_loss\n" + rows)
    assert history(tmp_path) == {"epoch": [0.0, 1.0, 2.0], "val_loss": [0.9, 0.7, 0.5]}
    assert history(tmp_path / "nothing") == {"epoch": []}


def test_an_epoch_that_a_kill_cut_short_is_left_out(tmp_path):
    for attempt, rows in {0: "0,1,,0.9\n0,1,0.5,\n1,2,,0.8\n", 1: "2,3,,0.7\n2,3,0.4,\n"}.items():
        folder = tmp_path / "log" / f"attempt_{attempt}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("epoch,step,train_loss,val_loss\n" + rows)
    assert history(tmp_path) == {
        "epoch": [0.0, 2.0], "train_loss": [0.5, 0.4], "val_loss": [0.9, 0.7],
    }  # fmt: skip


# Several processes ------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_train_and_hand_the_weights_back(splits, tmp_path):
    options = FitOptions(2, 4, 1e-3, 1e-2, 0, devices=2)
    task = teacher_task(splits, options)
    start = {k: v.clone() for k, v in task.network.state_dict().items()}
    train(task, splits, tmp_path)
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, best[key]) for key, value in task.state_dict().items())
    assert not all(torch.equal(start[k], v) for k, v in task.network.state_dict().items())
    # 16 windows over 2 processes in batches of 4: 2 steps an epoch.
    assert last_state(tmp_path)["global_step"] == 4
    assert history(tmp_path)["epoch"] == [0.0, 1.0]


# Prediction -------------------------------------------------------------------------------------


def test_predict_is_the_network_in_eval_mode_whatever_the_batch(splits):
    torch.manual_seed(0)
    student = MiC(4, 400, 2).train()
    x = splits["train"].x
    found = predict(student, x, batch=5)
    assert not student.training
    with torch.no_grad():
        np.testing.assert_allclose(found, student(torch.from_numpy(x)), atol=1e-6)
    assert found.shape == (16, 2)
