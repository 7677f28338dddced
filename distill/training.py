"""Training by Lightning: one way to fit, log, checkpoint and resume, for teachers and students."""

from __future__ import annotations

import csv
import logging
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from numpy.typing import NDArray
from torch import nn

from distill.batches import EpochShuffle, WindowSet, batches, batches_in_order, training_batches
from distill.interrupt import Interrupt
from distill.losses import UNLABELLED
from distill.tasks import FitOptions, StudentTask, Task, TeacherTask
from targets.files import atomic_path, read_json, write_json

__all__ = ["UNLABELLED", "EpochShuffle", "FitOptions", "StudentTask", "Task", "TeacherTask",
           "WindowSet", "fit", "history", "predict"]  # fmt: skip


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


class _BestKept(ModelCheckpoint):
    """Remembers the best epoch although the run folder has moved between a kill and its resume."""

    @property
    def state_key(self) -> str:
        """The name under which a checkpoint holds the state: Lightning's own."""
        return str(super().state_key).replace(type(self).__qualname__, ModelCheckpoint.__qualname__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state over with the paths as they are now."""
        here = {
            key: str(Path(str(self.dirpath)) / Path(state_dict[key]).name)
            for key in ("best_model_path", "kth_best_model_path", "last_model_path")
            if state_dict.get(key)
        }
        best = {
            str(Path(str(self.dirpath)) / Path(path).name): score
            for path, score in state_dict["best_k_models"].items()
        }
        moved = {"dirpath": self.dirpath, "best_k_models": best, **here}
        super().load_state_dict({**state_dict, **moved})


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
    # With deterministic algorithms torch fills fresh memory, which only serves to find misuse.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    for part in last.parent.glob(".*.part"):  # what a killed process was writing
        shutil.rmtree(part, ignore_errors=True)
    best = _BestKept(last.parent, "best", monitor=task.monitor, mode="max",
                     enable_version_counter=False)  # fmt: skip
    # Not save_last: that saves only when the best changes, and a kill would lose more.
    every = _BestKept(last.parent, "last", enable_version_counter=False)
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
                training_batches(train, options.batch, options.seed, options.epoch_windows),
                batches_in_order(val),
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
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]  # a kill may cut the last one off
        for row in csv.DictReader(whole):
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
