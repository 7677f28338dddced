"""MiC: the student that mimics the teacher's features, then compresses them.

    stem:     1x1 over electrodes, then a strided depthwise filter in time
    encoder:  separable convolutions
    mimic:    1x1 projection to (mimic_chans, d), where the teacher's features live
    compress: depthwise over the virtual channels, pointwise to a few maps; pooled in time
    readout:  one Linear on the mean over patches

Mimic and the first two compress maps are linear with nothing between them, so they are one 1x1
convolution: the mimic space costs nothing on the device. :meth:`MiC.deploy` folds them, and the
mean with the Linear. Tokens for the losses are means over a patch, taken before the projection
(means and projections commute).

What int8 asks for: ReLU6 bounds every range by training rather than by outliers; the pooling is a
depthwise filter (it starts as the mean) behind the last activation, because an average pool must
keep its input's scale, which wastes bits on means; and few requantisations, since each adds a
rounding that optimised kernels make differently.

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
    blocks: int = Field(default=0, ge=0, description="residual blocks")
    mimic_chans: int = Field(default=4, ge=1, description="virtual channels of the mimic space")
    compress: int = Field(default=16, ge=1, description="maps after compression")
    dropout: float = Field(default=0.25, ge=0, lt=1)


class StudentOutput(NamedTuple):
    """logits (batch, n_outputs); tokens (batch, mimic_chans, n_patches, d); features.

    features (batch, width, n_patches) are the encoder's maps, averaged over each patch: what the
    tokens are projected from.
    """

    logits: Tensor
    tokens: Tensor
    features: Tensor


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
        nn.ReLU6(),
        nn.Conv2d(width_in, width, 1, bias=False),
        nn.BatchNorm2d(width),
    ]  # fmt: skip


class Residual(nn.Module):
    """relu6(x + separable(x)); the addition fuses its ReLU on the device."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_separable(width, width, kernel, 1, kernel // 2))
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, 1, steps) -> the same shape."""
        return self.act(x + self.body(x))


class Compress(nn.Module):
    """Depthwise over virtual channels, then pointwise: (batch, mc * d, 1, S) -> (batch, k, 1, S).

    The depthwise step is one weight per (virtual channel, feature), summed over the channels.
    """

    def __init__(self, mimic_chans: int, d: int, k: int) -> None:
        super().__init__()
        self.spatial = nn.Parameter(torch.full((mimic_chans, d), mimic_chans**-0.5))
        self.pointwise = nn.Conv2d(d, k, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """Compress mimic features, step by step: what :meth:`folded` does in one."""
        batch, _, _, steps = z.shape
        z = z.reshape(batch, *self.spatial.shape, 1, steps)
        return self.pointwise((z * self.spatial[None, :, :, None, None]).sum(dim=1))

    def folded(self, mimic: nn.Conv2d) -> tuple[Tensor, Tensor]:
        """Weight (k, width, 1, 1) and bias (k,) of this after `mimic` as one 1x1 convolution."""
        assert mimic.bias is not None
        chans, d = self.spatial.shape
        # (k, mc * d): the two compress maps as one matrix on the mimic space.
        both = (self.pointwise.weight.reshape(-1, 1, d) * self.spatial).reshape(-1, chans * d)
        weight = both @ mimic.weight.reshape(chans * d, -1)
        return weight[:, :, None, None], both @ mimic.bias


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
        self.mimic_chans, self.width = cfg.mimic_chans, cfg.width
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
            nn.ReLU6(),
        )  # fmt: skip
        self.encoder = nn.Sequential(
            *_separable(stem, cfg.width, 8, 2, _same(8, 2, steps, "encoder")),
            nn.ReLU6(),
            *[Residual(cfg.width, 9) for _ in range(cfg.blocks)],
        )
        pool = patch // total
        self.to_patches = nn.AvgPool2d((1, pool))
        self.dropout = nn.Dropout(cfg.dropout)
        self.mimic: nn.Module = nn.Conv2d(cfg.width, cfg.mimic_chans * d, 1)
        self.compress: nn.Module = Compress(cfg.mimic_chans, d, cfg.compress)
        self.settle = nn.Sequential(nn.BatchNorm2d(cfg.compress), nn.ReLU6())
        self.pool = nn.Conv2d(
            cfg.compress, cfg.compress, (1, pool), (1, pool), groups=cfg.compress, bias=False
        )
        nn.init.constant_(self.pool.weight, 1.0 / pool)
        self.over_patches: nn.Module = nn.AvgPool2d((1, self.n_patches))
        self.readout: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(cfg.compress, n_outputs))
        check_operators(self)

    def _features(self, x: Tensor) -> Tensor:
        return self.dropout(self.encoder(self.stem(x.unsqueeze(2))))

    def _decide(self, features: Tensor) -> Tensor:
        if isinstance(self.compress, Compress):
            assert isinstance(self.mimic, nn.Conv2d)
            z = nn.functional.conv2d(features, *self.compress.folded(self.mimic))
        else:
            z = self.compress(features)
        return self.readout(self.over_patches(self.pool(self.settle(z))))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, n_outputs) of windows (batch, n_chans, n_times)."""
        return self._decide(self._features(x))

    def with_tokens(self, x: Tensor) -> StudentOutput:
        """Logits and the mimic features, for distillation."""
        if self.folded:
            raise RuntimeError("a folded student has no mimic space left")
        features = self._features(x)
        assert isinstance(self.mimic, nn.Conv2d)
        pooled = self.to_patches(features).squeeze(2)
        # The 1x1 convolution as a product, which leaves a token's d numbers side by side.
        weight = self.mimic.weight.flatten(1)
        tokens = nn.functional.linear(pooled.transpose(1, 2), weight, self.mimic.bias)
        tokens = tokens.unflatten(2, (self.mimic_chans, self.d)).transpose(1, 2)
        return StudentOutput(self._decide(features), tokens, pooled)

    def deploy(self) -> MiC:
        """A copy in eval mode whose mimic and compress maps are one 1x1 convolution."""
        student = copy.deepcopy(self).eval()
        if self.folded:
            return student
        mimic, compress = student.mimic, student.compress
        assert isinstance(mimic, nn.Conv2d)
        assert isinstance(compress, Compress)
        merged = nn.Conv2d(self.config.width, self.config.compress, 1)
        assert merged.bias is not None
        with torch.no_grad():
            weight, bias = copy.deepcopy(compress).double().folded(copy.deepcopy(mimic).double())
            merged.weight.copy_(weight)
            merged.bias.copy_(bias)
        student.mimic, student.compress, student.folded = nn.Identity(), merged, True
        student._fold_readout()
        return student.eval()

    def stages(self) -> tuple[nn.Module, ...]:
        """What the deployed form runs, in this order."""
        if not self.folded:
            raise RuntimeError("only the deployed form is a plain chain")
        return (self.stem, self.encoder, self.compress, self.settle, self.pool, self.over_patches,
                self.readout)  # fmt: skip

    def _fold_readout(self) -> None:
        """Mean over patches and Linear as one convolution over the patches."""
        assert isinstance(self.readout, nn.Sequential)
        linear = self.readout[1]
        assert isinstance(linear, nn.Linear)
        over = nn.Conv2d(linear.in_features, linear.out_features, (1, self.n_patches))
        assert over.bias is not None
        with torch.no_grad():
            over.weight.copy_(linear.weight[:, :, None, None].expand_as(over.weight))
            over.weight /= self.n_patches
            over.bias.copy_(linear.bias)
        self.over_patches, self.readout = nn.Identity(), nn.Sequential(over, nn.Flatten())


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
