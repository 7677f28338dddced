"""Training by Lightning: two tasks (teacher, student), one way to fit, log, checkpoint, resume."""

from __future__ import annotations

import csv
import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from distill.batches import batches
from distill.cache import TeacherOutputs
from distill.interrupt import Interrupt
from distill.losses import UNLABELLED
from distill.methods.base import Batch, Method, Student
from distill.metrics import evaluate, selection_metric
from distill.teachers import BraindecodeTeacher
from distill.windows import Windows
from targets.errors import InputError
from targets.files import atomic_path, read_json, write_json


@dataclass(frozen=True)
class FitOptions:
    """How long and on what. devices > 1 trains data-parallel by Lightning's own launcher.

    epoch_windows : windows drawn in one epoch; None is each training window once. With it, arms
        whose training sets differ in size take equally many steps.
    """

    epochs: int
    batch: int
    lr: float
    weight_decay: float
    seed: int
    head_lr: float | None = None
    label_smoothing: float = 0.0
    devices: int = 1
    accelerator: str = "cpu"
    epoch_windows: int | None = None


class WindowSet(Dataset[tuple[Tensor, ...]]):
    """Windows as (x, y), or with the teacher's outputs as (x, y, logits, hidden)."""

    def __init__(self, windows: Windows, outputs: TeacherOutputs | None = None) -> None:
        self._windows, self._outputs = windows, outputs

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        x = torch.from_numpy(np.array(self._windows.x[index]))
        y = torch.tensor(self._windows.y[index])
        if self._outputs is None:
            return x, y
        logits = torch.from_numpy(np.array(self._outputs.logits[index]))
        return x, y, logits, torch.from_numpy(np.array(self._outputs.hidden[index]))


class EpochShuffle(Sampler[int]):
    """A shuffle that depends on (seed, epoch) alone, so that a resumed run sees the same order.

    An epoch is `size` windows of an endless row of permutations of the training set: whatever the
    size, every window has come equally often, but for one, at any moment.

    Parameters
    ----------
    n : windows of the training set.
    size : windows of an epoch; None is n, so that each epoch is one permutation.
    """

    def __init__(self, n: int, seed: int, size: int | None = None) -> None:
        self._n, self._seed, self._size, self._epoch = n, seed, size or n, 0

    def __len__(self) -> int:
        return self._size

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        start = self._epoch * self._size
        first, last = start // self._n, (start + self._size - 1) // self._n
        row = [
            np.random.default_rng([self._seed, turn]).permutation(self._n)
            for turn in range(first, last + 1)
        ]
        offset = start - first * self._n
        return iter(np.concatenate(row)[offset : offset + self._size].tolist())


class _SeedEpoch(Callback):
    """Seeds torch at each epoch, so that dropout after a resume is what it would have been.

    At the first batch, not at the epoch's start: Lightning makes the data iterator, which draws
    from the same generator, before the start in a resumed epoch and after it in the others.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_index: int
    ) -> None:
        """Seed before the first batch."""
        if batch_index == 0:
            torch.manual_seed(self._seed * 100_003 + trainer.current_epoch)


class _WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the target and renames: Lightning moves from /tmp, which may copy slowly."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Replace `path` by a whole checkpoint or leave the one that stands."""
        with atomic_path(Path(path)) as part:
            torch.save(checkpoint, part)


class _PlainProgress(Callback):
    """One line a tenth of the way, for logs and pipes; a terminal gets Lightning's rich bar."""

    def __init__(self, name: str) -> None:
        self._name = name

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Print a line now and then."""
        epoch, last = trainer.current_epoch + 1, trainer.max_epochs
        if not trainer.is_global_zero or (epoch % max(1, last // 5) and epoch != last):
            return
        value = trainer.callback_metrics.get(pl_module.metric)
        shown = "" if value is None else f", {pl_module.metric} {float(value):.3f}"
        print(f"  {self._name}: epoch {epoch}/{last}{shown}", flush=True)


class Task(pl.LightningModule):
    """What both tasks share: validation metrics, optimiser, cosine schedule.

    The best epoch is chosen by `metric` on validation data, among the last three quarters: before,
    batch-norm statistics and the decision threshold have not settled, and a metric that only ranks
    (AUROC) may favour an epoch whose decisions are all of one class.
    """

    monitor = "val_selection"

    def __init__(
        self,
        network: nn.Module,
        n_outputs: int,
        options: FitOptions,
        columns: list[int] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.options, self.columns = network, options, columns
        self.metric = f"val_{selection_metric(n_outputs)}"
        self._seen: list[tuple[Tensor, Tensor]] = []

    def seen(self, x: Tensor) -> Tensor:
        """Windows (batch, n_chans, n_times) with the electrodes that the network has."""
        return x if self.columns is None else x[:, self.columns]

    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Keep logits and labels until the epoch ends."""
        x, y = self.seen(batch[0]), batch[1]
        self._seen.append((self.network(x).detach(), y))

    def on_validation_epoch_end(self) -> None:
        """Metrics over the whole validation split, not a mean over batches."""
        logits = self.all_gather(torch.cat([a for a, _ in self._seen]))
        y = self.all_gather(torch.cat([b for _, b in self._seen]))
        self._seen.clear()
        logits, y = logits.reshape(-1, logits.shape[-1]), y.reshape(-1)
        logits, y = logits[y != UNLABELLED], y[y != UNLABELLED]
        if not torch.isfinite(logits).all():
            raise InputError(
                "training diverged: the model's outputs are no longer finite",
                where=type(self.network).__name__, value=f"epoch {self.current_epoch + 1}",
                todo="Lower lr in the recipe and start another folder.",
            )  # fmt: skip
        self.log("val_loss", F.cross_entropy(logits, y), sync_dist=True)
        for name, value in evaluate(logits.cpu().numpy(), y.cpu().numpy()).items():
            self.log(f"val_{name}", value, sync_dist=True)
            if f"val_{name}" == self.metric:
                settled = self.current_epoch >= self.options.epochs // 4
                self.log(self.monitor, value if settled else value - 2.0, sync_dist=True)

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimiser."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def configure_optimizers(self) -> Any:
        """AdamW with a cosine to 1e-6."""
        o = self.options
        optimiser = torch.optim.AdamW(self.groups(), lr=o.lr, weight_decay=o.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, o.epochs, eta_min=1e-6)
        return {"optimizer": optimiser, "lr_scheduler": schedule}


class TeacherTask(Task):
    """Fine-tuning with label smoothing; the head has a learning rate of its own."""

    network: BraindecodeTeacher

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """One batch; returns the loss."""
        x, y = batch
        loss = F.cross_entropy(self.network(x), y, label_smoothing=self.options.label_smoothing)
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimiser."""
        o = self.options
        return self.network.parameter_groups(o.lr, o.head_lr or o.lr)


class StudentTask(Task):
    """A student under a distillation method; each loss is logged under its own name."""

    network: Any  # a Student, which is a module too

    def __init__(
        self,
        network: Student,
        method: Method,
        n_outputs: int,
        options: FitOptions,
        columns: list[int] | None = None,
    ) -> None:
        assert isinstance(network, nn.Module)
        super().__init__(network, n_outputs, options, columns)
        self.method = method

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """One batch; returns the loss."""
        named, notes = self.method.losses(self.network, Batch(self.seen(batch[0]), *batch[1:]))
        total = torch.stack(list(named.values())).sum()
        columns = {**named, **notes, "loss": total}
        self.log_dict(
            {f"train_{name}": value.detach() for name, value in columns.items()},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
        )
        return total


def _loader(data: WindowSet, options: FitOptions, train: bool) -> DataLoader[Any]:
    if not train:
        return DataLoader(data, batch_size=256)
    size = options.epoch_windows or len(data)
    batch = min(options.batch, size)
    return DataLoader(
        data,
        batch_size=batch,
        sampler=EpochShuffle(len(data), options.seed, size),
        # A last batch of one window has no batch statistics.
        drop_last=size % batch == 1,
    )


def fit(
    task: Task, train: WindowSet, val: WindowSet, folder: Path, *, name: str
) -> dict[str, float]:
    """Train, keep the best epoch on validation data, and leave its weights in `task.network`.

    `folder` gets checkpoints/ (last, best), log/ (CSV), tensorboard/ and done.json. Where
    done.json stands, nothing is trained again; where last.ckpt stands, training goes on from it,
    so that a kill costs at most one epoch.

    Returns
    -------
    dict
        "best_epoch" (from 0) and the selection metric's best value under "value".
    """
    done = folder / "done.json"
    if not done.exists():
        _run_trainer(task, train, val, folder, name)
    best = folder / "checkpoints" / "best.ckpt"
    kept = torch.load(best, map_location="cpu", weights_only=True)
    if not done.exists():
        write_json(done, _summary(kept, task.metric))
    task.load_state_dict(kept["state_dict"])
    task.eval()
    return dict(read_json(done, "training summary"))


def _summary(kept: dict[str, Any], metric: str) -> dict[str, float]:
    scores = [
        float(state["best_model_score"])
        for key, state in kept["callbacks"].items()
        if key.startswith("ModelCheckpoint") and state["monitor"]
    ]
    return {"best_epoch": int(kept["epoch"]), "value": scores[0], "metric": metric}  # type: ignore[dict-item]


def _run_trainer(task: Task, train: WindowSet, val: WindowSet, folder: Path, name: str) -> None:
    options = task.options
    last = folder / "checkpoints" / "last.ckpt"
    attempt = len(list((folder / "log").glob("attempt_*")))
    on_terminal = sys.stderr.isatty()
    _quiet_lightning()
    best = ModelCheckpoint(folder / "checkpoints", "best", monitor=task.monitor, mode="max",
                           enable_version_counter=False)  # fmt: skip
    # Not save_last: that saves only when the best changes, and a kill would lose more.
    every = ModelCheckpoint(folder / "checkpoints", "last", enable_version_counter=False)
    interrupt = Interrupt()
    trainer = pl.Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        # A term of weight 0 leaves parts of the method without a gradient.
        strategy="ddp_spawn_find_unused_parameters_true" if options.devices > 1 else "auto",
        plugins=[_WholeCheckpoints()],
        max_epochs=options.epochs,
        gradient_clip_val=1.0,
        callbacks=[
            best,
            every,
            _SeedEpoch(options.seed),
            interrupt,
            RichProgressBar(leave=False) if on_terminal else _PlainProgress(name),
        ],
        logger=[
            CSVLogger(folder, name="log", version=f"attempt_{attempt}"),
            TensorBoardLogger(folder, name="tensorboard", version=f"attempt_{attempt}"),
        ],
        enable_progress_bar=on_terminal,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        deterministic=True,
    )
    try:
        with interrupt.listening(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "num_workers is low": the windows are in memory
            trainer.fit(
                task,
                _loader(train, options, True),
                _loader(val, options, False),
                ckpt_path=last if last.exists() else None,
                weights_only=True,
            )
    except SystemExit:
        if trainer.interrupted or interrupt.asked:  # Lightning turns Ctrl-C into exit status 1
            raise KeyboardInterrupt from None
        raise


def _quiet_lightning() -> None:
    for logger in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities"):
        logging.getLogger(logger).setLevel(logging.ERROR)


def history(folder: Path) -> dict[str, list[float]]:
    """Curves of a fit by epoch, joined over attempts: {"epoch": [...], column: [...]}.

    An epoch that a kill left with only part of its row is left out.
    """
    rows: dict[int, dict[str, float]] = {}
    attempts = (folder / "log").glob("attempt_*/metrics.csv")
    for path in sorted(attempts, key=lambda p: int(p.parent.name.removeprefix("attempt_"))):
        with path.open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                values = {k: float(v) for k, v in row.items() if v not in ("", None)}
                epoch = int(values.pop("epoch"))
                values.pop("step", None)
                rows.setdefault(epoch, {}).update(values)
    columns = sorted({name for row in rows.values() for name in row})
    epochs = [e for e in sorted(rows) if len(rows[e]) == len(columns)]
    return {
        "epoch": [float(e) for e in epochs],
        **{name: [rows[e][name] for e in epochs] for name in columns},
    }


def predict(
    network: nn.Module,
    x: NDArray[np.float32],
    batch: int = 128,
    columns: list[int] | None = None,
) -> NDArray[np.float32]:
    """Logits (n, n_outputs) of windows (n, n_chans, n_times), in eval mode, without gradients.

    columns : the channels that the network sees, in its order; None for all.
    """
    network.eval()
    with torch.no_grad():
        parts = batches(x, batch)
        seen = parts if columns is None else (part[:, columns] for part in parts)
        return np.concatenate([network(part).numpy() for part in seen])
