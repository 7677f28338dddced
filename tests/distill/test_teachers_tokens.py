from typing import get_args

import pytest
import torch

from distill.teachers.tokens import Axes, TokenForm, patch_weights

BATCH, CHANS, STEPS, D = 2, 3, 4, 5
GRID = torch.randn(BATCH, CHANS, STEPS, D, generator=torch.Generator().manual_seed(0))
# The same tokens as each form has them.
FORMS = {
    "batch (chans steps) d": GRID.reshape(BATCH, CHANS * STEPS, D),
    "batch (steps chans) d": GRID.transpose(1, 2).reshape(BATCH, CHANS * STEPS, D),
    "batch chans steps d": GRID,
    "batch steps chans d": GRID.transpose(1, 2),
    "(batch steps) chans d": GRID.transpose(1, 2).reshape(BATCH * STEPS, CHANS, D),
    "(batch chans) steps d": GRID.reshape(BATCH * CHANS, STEPS, D),
    "batch d chans steps": GRID.permute(0, 3, 1, 2),
    "batch d steps chans": GRID.permute(0, 3, 2, 1),
}
ONE_CHANNEL = {"batch steps d": GRID[:, 0], "batch d steps": GRID[:, 0].transpose(1, 2)}


@pytest.mark.parametrize("axes", get_args(Axes))
def test_every_form_comes_back_to_the_grid(axes):
    if axes in ONE_CHANNEL:
        tokens = TokenForm(axes).tokens(ONE_CHANNEL[axes], BATCH, CHANS, STEPS)
        assert torch.equal(tokens, GRID[:, :1])
    else:
        assert torch.equal(TokenForm(axes).tokens(FORMS[axes], BATCH, CHANS, STEPS), GRID)


@pytest.mark.parametrize("axes", ["batch (chans steps) d", "(batch steps) chans d"])
def test_class_and_summary_tokens_are_dropped(axes):
    plain = FORMS[axes]
    extra = torch.full((len(plain), 1, D), torch.nan)
    form = TokenForm(axes, cls_tokens=2, end_tokens=1)
    tokens = form.tokens(torch.cat([extra, extra, plain, extra], 1), BATCH, CHANS, STEPS)
    assert torch.equal(tokens, GRID)


def test_steps_are_averaged_by_the_time_they_share_with_a_patch():
    form = TokenForm("batch chans steps d")
    assert patch_weights(4, 4, form) is None
    even = patch_weights(4, 2, form)
    assert torch.equal(even, torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]))
    uneven = patch_weights(5, 2, form)
    assert torch.allclose(uneven, torch.tensor([[2, 2, 1, 0, 0], [0, 0, 1, 2, 2]]) / 5)
    tokens = form.tokens(GRID, BATCH, CHANS, 2)
    assert torch.allclose(tokens, GRID.reshape(BATCH, CHANS, 2, 2, D).mean(3), atol=1e-6)


def test_frames_that_overlap_are_averaged_by_the_time_they_share_with_a_patch():
    form = TokenForm("batch (chans steps) d", frame=1.0, hop=0.5)
    expected = torch.tensor(
        [[2 / 3, 1 / 3, 0, 0, 0], [0, 0.25, 0.5, 0.25, 0], [0, 0, 0, 1 / 3, 2 / 3]]
    )
    assert torch.allclose(patch_weights(5, 3, form), expected)
    assert patch_weights(1, 1, form).tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("axes", "output", "message"),
    [
        ("batch steps d", None, "takes no part in the model's forward"),
        ("batch steps d", [GRID], "gives list, not a tensor"),
        ("batch steps d", GRID, r"has shape \(2, 3, 4, 5\), but 'batch steps d' has 3 axes"),
        ("batch (chans steps) d", GRID[:, 0], "is not .* for a batch of 2 and 3 channels"),
        ("(batch steps) chans d", GRID[0], r"\(3, 4, 5\), which is not .* for a batch of 2$"),
        ("batch chans steps d", GRID[:, :, :1], "has 1 steps in time, fewer than the 2 patches"),
    ],
)
def test_outputs_of_another_form_are_refused(axes, output, message):
    with pytest.raises(ValueError, match=message):
        TokenForm(axes).tokens(output, BATCH, CHANS, 2)
