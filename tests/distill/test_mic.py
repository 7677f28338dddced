import pytest
import torch
from pydantic import ValidationError
from torch import nn

from distill.counts import count
from distill.mic import MiC, MiCConfig, check_operators
from targets.errors import InputError

CONFIGS = {
    "default": MiCConfig(),
    "blocks": MiCConfig(blocks=2, mimic_chans=3, compress=8),
    "wide stride": MiCConfig(kernel=40, stride=10, expand=1, width=24),
}


def trained(config=None, n_chans=6, n_outputs=3):
    """A student whose batch statistics and every weight differ from their start."""
    torch.manual_seed(0)
    student = MiC(n_chans, 800, n_outputs, d=40, config=config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        student.train()
        for _ in range(5):
            student(3 * torch.randn(8, n_chans, 800, generator=generator))
    return student.eval()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_folding_changes_no_output_and_costs_less(config):
    student = trained(config)
    folded = student.deploy()
    x = torch.randn(16, 6, 800)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), student(x), atol=1e-5, rtol=1e-5)
    before, after = count(student, x[:1]), count(folded, x[:1])
    assert after.macs < before.macs
    assert after.params < before.params


def test_one_convolution_is_projection_and_compression_step_by_step():
    student = trained(CONFIGS["blocks"])
    features = torch.randn(2, 32, 1, 7)
    with torch.no_grad():
        slow = student.compress(student.mimic(features))
        quick = nn.functional.conv2d(features, *student.compress.folded(student.mimic))
    torch.testing.assert_close(quick, slow, atol=1e-5, rtol=1e-5)


def test_the_mimic_space_costs_nothing_on_the_device():
    x = torch.zeros(1, 6, 800)
    costs = {
        count(MiC(6, 800, 3, d=d, config=MiCConfig(mimic_chans=chans)).deploy(), x)
        for d in (40, 200)
        for chans in (1, 8)
    }
    assert len(costs) == 1


def test_device_macs_by_hand():
    """Spatial 1x1, two separable steps, the folded 1x1, the pooling filter, the readout."""
    folded = MiC(6, 800, 3).deploy()
    spatial, stem, width, compress = 16, 32, 32, 16
    macs = 800 * 6 * spatial + 200 * stem * 32 + 100 * stem * 8 + 100 * stem * width
    macs += 100 * width * compress + 100 * compress + 4 * compress * 3
    assert count(folded, torch.zeros(1, 6, 800)).macs == macs


def test_deploy_is_a_copy_and_final():
    student = trained()
    folded = student.deploy()
    assert not student.folded
    assert folded.folded
    assert not folded.training
    check_operators(folded)
    x = torch.randn(2, 6, 800)
    with torch.no_grad():
        torch.testing.assert_close(folded.deploy()(x), folded(x))
    with pytest.raises(RuntimeError, match="no mimic space"):
        folded.with_tokens(x)


def test_outputs_and_tokens():
    student = MiC(6, 800, 3, d=40, config=CONFIGS["blocks"]).eval()
    x = torch.randn(2, 6, 800)
    out = student.with_tokens(x)
    assert out.logits.shape == (2, 3)
    assert out.tokens.shape == (2, 3, 4, 40)
    assert torch.equal(out.logits, student(x))


def test_tokens_are_in_order_of_time():
    """A change in patch 2 moves token 2 more than any token that its filters do not reach."""
    student = trained()
    x = torch.randn(1, 6, 800)
    other = x.clone()
    other[:, :, 450:550] += 3.0
    with torch.no_grad():
        moved = (student.with_tokens(other).tokens - student.with_tokens(x).tokens).abs()
    moved = moved.sum(dim=(0, 1, 3))
    assert moved.argmax() == 2
    assert moved[0] == 0


def test_the_decision_reads_the_mimic_features():
    student = trained(CONFIGS["default"])
    logits, tokens, _ = student.with_tokens(torch.randn(2, 6, 800))
    (gradient,) = torch.autograd.grad(logits.sum(), tokens, allow_unused=True)
    assert gradient is None  # tokens are a view made for the losses, not the path itself
    loss = student.with_tokens(torch.randn(2, 6, 800)).tokens.square().mean()
    loss.backward()
    assert student.mimic.weight.grad.abs().max() > 0
    assert student.stem[0].weight.grad.abs().max() > 0


def test_first_map_is_smaller_than_the_window():
    """Space first: what a Cortex-M must hold of the first map is below the input itself."""
    student = MiC(19, 800, 2)
    sizes = []
    for layer in (student.stem[0], student.stem[2]):
        layer.register_forward_hook(lambda _m, _i, out: sizes.append(out[0].numel()))
    student.eval()(torch.zeros(1, 19, 800))
    assert max(sizes) < 19 * 800


@pytest.mark.parametrize(
    ("kind", "name"),
    [(nn.GELU, "GELU"), (nn.ELU, "ELU"), (nn.Hardswish, "Hardswish")],
)
def test_foreign_activations_are_refused_by_place(kind, name):
    student = MiC(6, 800, 2, config=CONFIGS["blocks"])
    student.encoder[5].act = kind()
    with pytest.raises(InputError, match=rf"encoder\.5\.act \({name}\)"):
        check_operators(student)


def test_every_foreign_operator_is_named():
    student = nn.Sequential(nn.Conv1d(1, 1, 3), nn.LayerNorm(3), nn.ReLU6(), nn.GroupNorm(1, 1))
    with pytest.raises(InputError, match=r"0 \(Conv1d\), 1 \(LayerNorm\), 3 \(GroupNorm\)"):
        check_operators(student)


@pytest.mark.parametrize(
    "config", [MiCConfig(kernel=33), MiCConfig(kernel=31, stride=4), MiCConfig(kernel=32, stride=5)]
)
def test_one_sided_padding_is_refused(config):
    with pytest.raises(InputError, match="padding would be one-sided"):
        MiC(6, 800, 2, config=config)


@pytest.mark.parametrize(
    ("n_times", "config"),
    [(900, MiCConfig()), (800, MiCConfig(stride=3)), (800, MiCConfig(kernel=16, stride=16))],
)
def test_strides_must_divide_window_and_patch(n_times, config):
    with pytest.raises(InputError, match="whole multiples of the student's strides"):
        MiC(6, n_times, 2, config=config)


def test_sizes_are_checked():
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        MiCConfig(width=0)
    with pytest.raises(ValidationError, match="Extra inputs"):
        MiCConfig(depth=3)


@pytest.mark.parametrize("n_chans", [1, 64])
def test_a_student_learns_a_rhythm(n_chans):
    """10 Hz against 20 Hz in noise: a few steps of training separate what training has not seen."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(400) / 200

    def batch(n):
        y = torch.arange(n) % 2
        phase = 6.28 * torch.rand(n, 1, 1, generator=generator)
        wave = torch.sin(6.2832 * (10 + 10 * y)[:, None, None] * time + phase)
        return wave + torch.randn(n, n_chans, 400, generator=generator), y

    torch.manual_seed(0)
    student = MiC(n_chans, 400, 2, d=40)
    optimiser = torch.optim.Adam(student.parameters(), lr=5e-3)
    for _ in range(40):
        x, y = batch(32)
        optimiser.zero_grad()
        nn.functional.cross_entropy(student(x), y).backward()
        optimiser.step()
    x, y = batch(200)
    assert (student.eval()(x).argmax(1) == y).float().mean() > 0.9
