"""EEGPT (Wang et al., NeurIPS 2024): attention over electrodes within each quarter of a second."""

from __future__ import annotations

from torch import nn

from distill.braindecode_import import braindecode_models
from distill.signal import SignalSpec
from distill.teachers.architecture import Architecture
from distill.teachers.keys import KeyMap, State
from distill.teachers.protocol import SignalNeeds
from distill.teachers.tokens import TokenForm
from targets.errors import InputError

PATCH = 64


def build(signal: SignalSpec, n_outputs: int, n_layers: int, dropout: float) -> nn.Module:
    """braindecode's EEGPT on the electrodes themselves, with patches that do not overlap.

    As in the authors' pre-training. Their fine-tuning puts a learned projection to 19 virtual
    electrodes in front: then no token would belong to an electrode, and the projection would have
    to be learned anew for each montage.
    """
    return braindecode_models().EEGPT(
        n_times=signal.n_times,
        n_outputs=n_outputs,
        n_chans=signal.n_chans,
        sfreq=signal.sfreq,
        chs_info=[{"ch_name": name} for name in signal.ch_names],
        depth=n_layers,
        patch_size=PATCH,
        patch_stride=PATCH,
        chan_proj_type="none",
        drop_prob=dropout,
        drop_path_rate=dropout,
    )


def check_names(ch_names: tuple[str, ...]) -> None:
    """Refuse electrodes without a row in the channel embedding.

    braindecode would give them the row of whatever electrode has their place in the list.
    """
    braindecode_models()
    from braindecode.models.eegpt import CHANNEL_DICT

    absent = [name for name in ch_names if name.upper() not in CHANNEL_DICT]
    if absent:
        raise InputError(
            f"electrodes {', '.join(absent)} have no embedding in EEGPT",
            where="[signal] ch_names",
            todo="Use 10-20 names (T7, T8, P7, P8 rather than T3, T4, T5, T6), or the teacher "
            "cbramod, which takes any electrodes.",
        )


def own_electrodes(state: State, _model: nn.Module) -> State:
    """Leave out the checkpoint's electrode numbers: ours come from the contract's names."""
    return {key: value for key, value in state.items() if key != "chans_id"}


EEGPT = Architecture(
    needs=SignalNeeds(256.0, None, "mV", 1.0, PATCH),
    build=build,
    layers=lambda depth: tuple(f"target_encoder.blocks.{k}" for k in range(depth)),
    form=TokenForm("(batch steps) chans d", end_tokens=4),
    depth=8,
    d=512,
    keys=KeyMap(
        marks=r"(encoder|predictor|reconstructor|blocks|patch_embed|chan_embed)\.|summary_token$",
        rename=(
            (r"^(blocks|patch_embed|chan_embed|norm|summary_token)\b", r"target_encoder.\1"),
        ),
        # The online encoder, whose moving average is the target encoder, and the other two parts
        # of the masked pre-training.
        drop=(r"encoder\.", r"predictor\.", r"reconstructor\."),
        new=("final_layer.", "chans_id"),
        fit=own_electrodes,
    ),
    check_names=check_names,
)  # fmt: skip
