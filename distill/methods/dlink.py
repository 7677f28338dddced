"""DLink: Router over the teacher's layers, mimic, and spectral magnitude and phase.

After the abstracts of arXiv 2604.15016; the formulas are ours and stand in docs/methods.md:

    L = w_ce CE + w_kd KD(T) + w_mimic L_mimic + w_mag L_mag + w_phase L_phase
        + w_router CE(Router head) + w_collapse max(0, floor - entropy(alpha))

The student imitates H* without a gradient into the Router: the Router learns from the labels which
layers carry the task, not which layers are easy to imitate.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from distill import losses as L
from distill.methods.base import Batch, Method, Setting, Student
from distill.router import Router, collapse_penalty, entropy
from distill.teachers import TokenLayout


class DLinkConfig(BaseModel):
    """Weights and choices of DLink. A weight of 0 turns its term off.

    The defaults were chosen on the validation people of examples/benchmark-sim.toml.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["dlink"] = "dlink"
    router: Literal["last", "mean", "static", "routed"] = "routed"
    spectral_axis: Literal["patch", "subpatch"] = "subpatch"
    ce: float = Field(default=0.3, ge=0)
    kd: float = Field(default=4.0, ge=0)
    temperature: float = Field(default=2.0, gt=0)
    mimic: float = Field(default=1.0, ge=0)
    magnitude: float = Field(default=2.0, ge=0)
    phase: float = Field(default=1.0, ge=0)
    router_ce: float = Field(default=1.0, ge=0)
    collapse: float = Field(default=1.0, ge=0)
    entropy_floor: float = Field(default=0.5, ge=0, le=1)
    tau: float = Field(default=1.0, gt=0)


class DLink(Method):
    """The method of the paper's name; it reads a batch's `tokens`, or else its `hidden`.

    Parameters
    ----------
    n_layers, layout : of the teacher.
    n_outputs : classes.
    mimic_chans : virtual channels of the student's mimic space.
    config : weights.
    """

    reads_tokens = True

    def __init__(
        self,
        n_layers: int,
        layout: TokenLayout,
        n_outputs: int,
        mimic_chans: int,
        config: DLinkConfig | None = None,
    ) -> None:
        super().__init__()
        self.config, self.layout = config or DLinkConfig(), layout
        self.router = Router(
            n_layers,
            layout.n_chans,
            layout.d,
            n_outputs,
            mimic_chans=mimic_chans,
            mode=self.config.router,
            tau=self.config.tau,
        )

    @classmethod
    def build(cls, config: Any, setting: Setting) -> Self:
        """A Router for this teacher's layers and this student's mimic space."""
        teacher, student = setting.teacher, setting.student
        return cls(
            len(teacher.layers), teacher.layout, student.n_outputs, student.mimic_chans, config
        )

    def losses(self, student: Student, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses by name; diagnostics are the mean alpha of each layer and its entropy."""
        assert batch.teacher_logits is not None
        seen = batch.hidden if batch.tokens is None else batch.tokens
        assert seen is not None
        cfg = self.config
        routed = self.router(seen)
        target = routed.target
        out = student.with_tokens(batch.x)
        magnitude, phase = L.spectral(
            L.time_series(out.tokens, self.layout, cfg.spectral_axis),
            L.time_series(target, self.layout, cfg.spectral_axis),
        )
        spread = entropy(routed.weights)
        terms = {
            "ce": (cfg.ce, L.labels(out.logits, batch.y)),
            "kd": (cfg.kd, L.kd(out.logits, batch.teacher_logits, cfg.temperature)),
            "mimic": (cfg.mimic, L.mimic(out.tokens, target)),
            "magnitude": (cfg.magnitude, magnitude),
            "phase": (cfg.phase, phase),
            "router_ce": (cfg.router_ce, L.labels(routed.logits, batch.y)),
            "collapse": (cfg.collapse, collapse_penalty(spread, cfg.entropy_floor)),
        }
        named = {name: weight * value for name, (weight, value) in terms.items() if weight > 0}
        alpha = routed.weights.detach()
        notes = {f"alpha_{k}": mean for k, mean in enumerate(alpha.mean(dim=0))}
        notes["alpha_entropy"] = spread.detach()
        return named, notes
