"""LaBraM (Jiang et al., ICLR 2024): patches of one second, one class token, electrodes by name."""

from __future__ import annotations

import warnings

from torch import nn

from distill.braindecode_import import braindecode_models
from distill.signal import SignalSpec
from distill.teachers.architecture import Architecture
from distill.teachers.keys import KeyMap, State
from distill.teachers.protocol import SignalNeeds
from distill.teachers.tokens import TokenForm
from targets.errors import InputError


def build(signal: SignalSpec, n_outputs: int, n_layers: int, dropout: float) -> nn.Module:
    """braindecode's Labram as the authors fine-tune it."""
    models = braindecode_models()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "pass ch_names per batch": TappedTeacher does
        model = models.Labram(
            n_times=signal.n_times,
            n_outputs=n_outputs,
            n_chans=signal.n_chans,
            sfreq=signal.sfreq,
            chs_info=[{"ch_name": name} for name in signal.ch_names],
            num_layers=n_layers,
            drop_prob=dropout,
            drop_path_prob=dropout,
            # The authors' fine-tuning pools patch tokens rather than taking the CLS token.
            use_mean_pooling=True,
        )
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6  # the authors' value
    return model


def check_names(ch_names: tuple[str, ...]) -> None:
    """Refuse electrodes without a row in the position embedding."""
    braindecode_models()
    from braindecode.models.labram import LABRAM_CHANNEL_ORDER

    known = {name.upper() for name in LABRAM_CHANNEL_ORDER}
    absent = [name for name in ch_names if name.upper() not in known]
    if absent:
        raise InputError(
            f"electrodes {', '.join(absent)} have no position in LaBraM",
            where="[signal] ch_names",
            todo="Use 10-20 names, or the teacher cbramod, which takes any electrodes.",
        )


def fit(state: State, model: nn.Module) -> State:
    """As many time positions as the window has patches; and the norm that pooling uses.

    Pre-training normalises every token (norm), fine-tuning the mean of the patch tokens
    (fc_norm): there the authors start from a fresh fc_norm, and so does this.
    """
    state, own = dict(state), model.state_dict()
    key = "temporal_embedding"
    if key in state and state[key].ndim == 3 and state[key].shape[1] > own[key].shape[1]:
        state[key] = state[key][:, : own[key].shape[1]]
    if "fc_norm.weight" not in state:
        state.pop("norm.weight", None)
        state.pop("norm.bias", None)
    return state


LABRAM = Architecture(
    needs=SignalNeeds(200.0, (0.1, 75.0), "uV", 100.0, 200),
    build=build,
    layers=lambda depth: tuple(f"blocks.{k}" for k in range(depth)),
    form=TokenForm("batch (chans steps) d", cls_tokens=1),
    depth=12,
    d=200,
    keys=KeyMap(
        marks=r"(student\.)?(pos_embed|time_embed)$",
        rename=(
            (r"^student\.", ""),
            (r"^pos_embed$", "position_embedding"),
            (r"^time_embed$", "temporal_embedding"),
            (r"^patch_embed\.", "patch_embed.temporal_conv."),
            (r"\.mlp\.fc1\.", ".mlp.0."),
            (r"\.mlp\.fc2\.", ".mlp.2."),
            (r"^head\.", "final_layer."),
        ),
        drop=(r"mask_token$", r"lm_head\.", r"logit", r"projection_head\."),
        new=("final_layer.", "fc_norm."),
        fit=fit,
    ),
    sub_steps=25,
    order="time_major",
    check_names=check_names,
    passes_names=True,
)
