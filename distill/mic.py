"""MiC: the student that mimics the teacher's features, then compresses them.

    stem:     1x1 over electrodes, then a strided depthwise filter in time
    encoder:  separable convolutions, one of them residual; average pooling to one step a patch
    mimic:    1x1 projection to (mimic_chans, d), where the teacher's features live
    compress: depthwise over the virtual channels, pointwise to a few maps, mean over patches
    readout:  one Linear

Mimic and the first two compress maps are linear with nothing between them: :meth:`MiC.deploy`
folds the three into one 1x1 convolution, so that the mimic space costs nothing on the device.

Only what every target runs in int8 is allowed (docs/methods.md); :func:`check_operators` refuses
anything else when the student is constructed, not at export. Space comes first because the first
feature map decides the RAM of a Cortex-M: 16 maps at the full rate are less than the input itself.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from targets.errors import InputError

ALLOWED = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.AvgPool2d, nn.Linear, nn.Flatten,
           nn.Identity, nn.Dropout, nn.Sequential)  # fmt: skip


class MiCConfig(BaseModel):
    """Sizes of a MiC student; the defaults make about 0.9 MMAC at 19 x 800."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spatial: int = Field(default=16, ge=1, description="maps after the spatial 1x1")
    expand: int = Field(default=2, ge=1, description="temporal filters per spatial map")
    kernel: int = Field(default=32, ge=4, description="samples of the first temporal filter")
    stride: int = Field(default=4, ge=1, description="its stride")
    width: int = Field(default=32, ge=1, description="maps of the encoder")
    blocks: int = Field(default=1, ge=0, description="residual blocks")
    mimic_chans: int = Field(default=4, ge=1, description="virtual channels of the mimic space")
    compress: int = Field(default=16, ge=1, description="maps after compression")
    dropout: float = Field(default=0.25, ge=0, lt=1)


class StudentOutput(NamedTuple):
    """logits (batch, n_outputs); tokens (batch, mimic_chans, n_patches, d)."""

    logits: Tensor
    tokens: Tensor


def _same(kernel: int, stride: int, n: int, what: str) -> int:
    """Padding for which torch's symmetric one equals TFLite's SAME at length n."""
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    if total % 2:
        raise InputError(
            f"{what}: padding would be one-sided, which torch and TFLite place differently",
            where="[student]", value=f"kernel {kernel}, stride {stride}, {n} samples",
            todo="Choose a kernel of the stride's parity and a stride that divides the samples.",
        )  # fmt: skip
    return total // 2


def _separable(width_in: int, width: int, kernel: int, stride: int, pad: int) -> list[nn.Module]:
    return [
        nn.Conv2d(width_in, width_in, (1, kernel), (1, stride), (0, pad), groups=width_in,
                  bias=False),
        nn.BatchNorm2d(width_in),
        nn.Conv2d(width_in, width, 1, bias=False),
        nn.BatchNorm2d(width),
    ]  # fmt: skip


class Residual(nn.Module):
    """relu(x + separable(x)); the addition fuses its ReLU on the device."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_separable(width, width, kernel, 1, kernel // 2))
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, 1, steps) -> the same shape."""
        return self.act(x + self.body(x))


class Compress(nn.Module):
    """Depthwise over virtual channels, then pointwise: (batch, mc * d, 1, S) -> (batch, k, 1, S).

    The depthwise step is one weight per (virtual channel, feature), summed over the channels.
    """

    def __init__(self, mimic_chans: int, d: int, k: int) -> None:
        super().__init__()
        self.mimic_chans, self.d = mimic_chans, d
        self.spatial = nn.Parameter(torch.full((mimic_chans, d), mimic_chans**-0.5))
        self.pointwise = nn.Conv2d(d, k, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """Compress mimic features."""
        batch, _, _, steps = z.shape
        z = z.reshape(batch, self.mimic_chans, self.d, 1, steps)
        return self.pointwise((z * self.spatial[None, :, :, None, None]).sum(dim=1))


class MiC(nn.Module):
    """The student.

    Parameters
    ----------
    n_chans, n_times, n_outputs : of the windows and the task.
    patch : samples of one teacher patch; n_times must be a multiple.
    d : width of the teacher's tokens.
    config : sizes.

    Raises
    ------
    InputError
        Sizes that no symmetric padding fits, or n_times that is not whole patches.
    """

    def __init__(
        self, n_chans: int, n_times: int, n_outputs: int, *, patch: int = 200, d: int = 200,
        config: MiCConfig | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        cfg = config or MiCConfig()
        self.config, self.n_chans, self.n_times, self.n_outputs = cfg, n_chans, n_times, n_outputs
        self.d, self.n_patches, self.folded = d, n_times // patch, False
        total = cfg.stride * 2
        if n_times % patch or patch % total:
            raise InputError(
                "window and patch must be whole multiples of the student's strides",
                where="[student]", value=f"n_times {n_times}, patch {patch}",
                limit=f"n_times % patch == 0 and patch % {total} == 0",
            )  # fmt: skip
        stem = cfg.spatial * cfg.expand
        steps = n_times // cfg.stride
        self.stem = nn.Sequential(
            nn.Conv2d(n_chans, cfg.spatial, 1, bias=False),
            nn.BatchNorm2d(cfg.spatial),
            nn.Conv2d(cfg.spatial, stem, (1, cfg.kernel), (1, cfg.stride),
                      (0, _same(cfg.kernel, cfg.stride, n_times, "stem")),
                      groups=cfg.spatial, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
        )  # fmt: skip
        self.encoder = nn.Sequential(
            *_separable(stem, cfg.width, 8, 2, _same(8, 2, steps, "encoder")),
            nn.ReLU(),
            *[Residual(cfg.width, 9) for _ in range(cfg.blocks)],
        )
        self.to_patches = nn.AvgPool2d((1, patch // total))
        self.dropout = nn.Dropout(cfg.dropout)
        self.mimic: nn.Module = nn.Conv2d(cfg.width, cfg.mimic_chans * d, 1)
        self.compress: nn.Module = Compress(cfg.mimic_chans, d, cfg.compress)
        self.settle = nn.Sequential(nn.BatchNorm2d(cfg.compress), nn.ReLU())
        self.over_patches = nn.AvgPool2d((1, self.n_patches))
        self.readout = nn.Sequential(nn.Flatten(), nn.Linear(cfg.compress, n_outputs))
        check_operators(self)

    def _features(self, x: Tensor) -> Tensor:
        return self.dropout(self.to_patches(self.encoder(self.stem(x.unsqueeze(2)))))

    def _decide(self, z: Tensor) -> Tensor:
        return self.readout(self.over_patches(self.settle(self.compress(z))))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, n_outputs) of windows (batch, n_chans, n_times)."""
        return self._decide(self.mimic(self._features(x)))

    def with_tokens(self, x: Tensor) -> StudentOutput:
        """Logits and the mimic features, for distillation."""
        if self.folded:
            raise RuntimeError("a folded student has no mimic space left")
        z = self.mimic(self._features(x))
        tokens = z.reshape(len(x), self.config.mimic_chans, self.d, self.n_patches)
        return StudentOutput(self._decide(z), tokens.transpose(2, 3))

    def deploy(self) -> MiC:
        """A copy in eval mode whose mimic and compress maps are one 1x1 convolution."""
        student = copy.deepcopy(self).eval()
        if self.folded:
            return student
        mimic, compress = student.mimic, student.compress
        assert isinstance(mimic, nn.Conv2d)
        assert isinstance(compress, Compress)
        assert mimic.bias is not None
        cfg = self.config
        weight = mimic.weight.detach().double().reshape(cfg.mimic_chans, self.d, cfg.width)
        bias = mimic.bias.detach().double().reshape(cfg.mimic_chans, self.d)
        spatial = compress.spatial.detach().double()
        pointwise = compress.pointwise.weight.detach().double().reshape(cfg.compress, self.d)
        merged = nn.Conv2d(cfg.width, cfg.compress, 1)
        with torch.no_grad():
            merged.weight.copy_(
                torch.einsum("kd,cd,cdf->kf", pointwise, spatial, weight)[:, :, None, None]
            )
            assert merged.bias is not None
            merged.bias.copy_(torch.einsum("kd,cd,cd->k", pointwise, spatial, bias))
        student.mimic, student.compress, student.folded = nn.Identity(), merged, True
        return student.eval()


def check_operators(student: nn.Module) -> None:
    """Refuse modules outside the int8 operator set of the targets, naming each."""
    own = (MiC, Residual, Compress)
    foreign = [
        f"{path} ({type(module).__name__})"
        for path, module in student.named_modules()
        if path and not isinstance(module, ALLOWED + own)
    ]
    if foreign:
        raise InputError(
            f"student uses operators that not every target runs in int8: {', '.join(foreign)}",
            where=type(student).__name__,
            limit="convolution, batch norm, ReLU, ReLU6, average pooling, add, linear",
        )
