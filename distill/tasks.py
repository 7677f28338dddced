"""What is trained, a teacher or a student: Lightning modules with one way to validate and log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.losses import UNLABELLED
from distill.methods.base import Batch, Method, Student
from distill.metrics import evaluate, selection_metric
from distill.outputs import Tokens
from distill.teachers import TappedTeacher
from targets.errors import InputError


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


class Means:
    """Means of named values over the windows of an epoch.

    One sum for all of them: Lightning's own log costs more a value and step than a small loss.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._sum, self._n = torch.zeros(0), 0

    def add(self, values: dict[str, Tensor], n_windows: int) -> None:
        """A step's values: scalars, always under the same names, means over `n_windows`."""
        with torch.no_grad():
            step = torch.stack(list(values.values())).double() * n_windows
        self._sum = self._sum + step if self._n else step
        self._names, self._n = tuple(values), self._n + n_windows

    def take(self) -> dict[str, Tensor]:
        """The means so far, and start again; empty where nothing was added."""
        means = (self._sum / max(self._n, 1)).float()
        names, self._n = self._names if self._n else (), 0
        return dict(zip(names, means, strict=False))


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
        self._means = Means()

    def seen(self, x: Tensor) -> Tensor:
        """Windows (batch, n_chans, n_times) with the electrodes that the network has."""
        return x if self.columns is None else x[:, self.columns]

    def note(self, values: dict[str, Tensor], n_windows: int) -> None:
        """Keep a training step's values (scalars) for the epoch's row of the log."""
        self._means.add(values, n_windows)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Keep logits and labels until the epoch ends."""
        x, y = self.seen(batch[0]), batch[1]
        self._seen.append((self.network(x).detach(), y))

    def on_validation_epoch_end(self) -> None:
        """Log the epoch: metrics over the whole validation split, not a mean over batches.

        The means of the training losses are logged here too, before the epoch's checkpoint: a kill
        between the two repeats an epoch and never loses a row.
        """
        self._log_means()
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

    def _log_means(self) -> None:
        """Straight to the loggers: Lightning's own way takes milliseconds for twenty values."""
        means = self._means.take()
        if not means:
            return
        values = self.all_gather(torch.stack(list(means.values()))).reshape(-1, len(means))
        row = dict(zip([f"train_{name}" for name in means], values.mean(0).tolist(), strict=True))
        for logger in self.loggers:
            logger.log_metrics({**row, "epoch": self.current_epoch}, step=self.global_step)
            logger.save()

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

    network: TappedTeacher

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """One batch; returns the loss."""
        x, y = batch
        loss = F.cross_entropy(self.network(x), y, label_smoothing=self.options.label_smoothing)
        self.note({"loss": loss}, len(y))
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
        x, y, *seen = batch
        named, notes = self.method.losses(self.network, self._batch(self.seen(x), y, *seen))
        total = torch.stack(list(named.values())).sum()
        self.note({**named, **notes, "loss": total}, len(y))
        return total

    def _batch(
        self, x: Tensor, y: Tensor, logits: Tensor | None = None, tokens: Tokens | None = None
    ) -> Batch:
        """A batch with as much of the teacher's view as the method reads."""
        method = self.method
        if tokens is None or not method.needs_hidden:
            return Batch(x, y, logits)
        if method.reads_tokens:
            return Batch(x, y, logits, tokens=tokens)
        return Batch(x, y, logits, tokens.hidden(method.layers_needed).to(x.device))
