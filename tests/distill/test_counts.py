import pytest
import torch
from torch import nn

from distill.counts import count
from distill.mic import MiC
from distill.signal import SignalSpec
from distill.teachers import architecture, build_teacher


def test_convolutional_net_by_hand():
    net = nn.Sequential(
        nn.Conv1d(3, 8, 5, stride=2, padding=2, bias=False),  # 100 -> 50 steps
        nn.Conv1d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Flatten(),
        nn.Linear(8 * 50, 2),
    )
    counts = count(net, torch.zeros(1, 3, 100), "3.")
    assert counts.macs == 50 * 8 * 3 * 5 + 50 * 8 * 3 + 400 * 2
    assert counts.params == 8 * 3 * 5 + 8 * 3 + 400 * 2 + 2
    assert counts.params_head == 802
    assert counts.to_dict() == {"params": 946, "params_head": 802, "macs": counts.macs}


@pytest.mark.parametrize("training", [True, False])
def test_attention_is_counted_whole(training):
    """Fused attention kernels hide their products from counters; here they must not."""
    steps, d, ff = 10, 16, 32
    layer = nn.TransformerEncoderLayer(d, 2, ff, batch_first=True).train(training)
    counts = count(layer, torch.zeros(1, steps, d))
    projections = steps * d * 3 * d + steps * d * d
    attention = 2 * steps * steps * d
    assert counts.macs == projections + attention + 2 * steps * d * ff
    assert layer.training is training


def test_counting_leaves_weights_and_statistics_alone():
    student = MiC(4, 400, 2).train()
    before = {k: v.clone() for k, v in student.state_dict().items()}
    count(student, torch.randn(1, 4, 400))
    assert all(torch.equal(before[k], v) for k, v in student.state_dict().items())


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    # Parameters as the authors state them (LaBraM base 5.8 M, CBraMod 4.9 M without the head,
    # BIOT 3.2 M, EEGPT 25 M).
    # LaBraM: 12 blocks x 89 tokens x 480,000 weights, 38 M of attention, the stem: 0.55 GMAC.
    # EEGPT: 8 blocks x 16 patches x 26 tokens x 12 x 512^2 weights are 10.47 of the 10.57 GMAC.
    [("labram", 5.82e6, 0.55e9), ("cbramod", 4.99e6, 0.44e9), ("biot", 3.19e6, 0.50e9),
     ("eegpt", 25.3e6, 10.57e9)],
)  # fmt: skip
def test_published_sizes_of_the_teachers(name, params, macs):
    names = ("FP1", "FP2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T7", "T8",
             "P7", "P8", "FZ", "CZ", "PZ", "FCZ", "POZ", "OZ")  # fmt: skip
    needs = architecture(name).needs
    signal = SignalSpec(ch_names=names, sfreq=needs.sfreq, n_times=round(4 * needs.sfreq),
                        unit=needs.unit, scale=needs.scale)  # fmt: skip
    teacher = build_teacher(name, signal, 4)
    counts = count(teacher, torch.zeros(1, 22, signal.n_times), f"model.{teacher.head_prefix}")
    assert counts.params == pytest.approx(params, rel=0.02)
    assert counts.macs == pytest.approx(macs, rel=0.05)
    assert 0 < counts.params_head < counts.params
