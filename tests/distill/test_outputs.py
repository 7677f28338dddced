import numpy as np
import pytest
import torch
from torch.nn import functional as F

from distill.outputs import Held, TeacherOutputs, Tokens, normalise

N, LAYERS, CHANS, PATCHES, D = 6, 3, 5, 4, 9


def states(seed=0):
    draw = torch.randn(N, LAYERS, CHANS, PATCHES, D, generator=torch.Generator().manual_seed(seed))
    return 3.0 * draw + 1.0


def mixed(hidden, layer_weights, chan_weights):
    """What the formula says."""
    normed = F.layer_norm(hidden, (D,))
    target = torch.einsum("bl,mc,blcsd->bmsd", layer_weights, chan_weights, normed)
    return target, target.mean(dim=2)


def weights(n=N, layers=LAYERS, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.softmax(torch.randn(n, layers, generator=generator, dtype=dtype), -1),
        torch.softmax(torch.randn(2, CHANS, generator=generator, dtype=dtype), -1),
    )


def test_what_is_kept_says_what_was_given():
    hidden = states()
    parts = normalise(hidden)
    normed = F.layer_norm(hidden, (D,))
    torch.testing.assert_close(parts.normed, normed)
    torch.testing.assert_close(parts.pooled, normed.mean(3))
    torch.testing.assert_close(parts.mean, normed.mean((2, 3)))
    torch.testing.assert_close(Tokens(parts, np.arange(N)).hidden(), hidden)


def test_a_token_without_variance_comes_back():
    hidden = states()
    hidden[0, 0, 0, 0] = 7.0
    torch.testing.assert_close(Tokens.of(hidden).hidden(), hidden)


def test_a_window_is_kept_alike_whoever_comes_with_it():
    hidden = states()
    whole, alone = normalise(hidden), normalise(hidden[2:3])
    assert all(torch.equal(a[2:3], b) for a, b in zip(whole, alone, strict=True))


def test_mixed_is_the_formula_with_its_gradient_through_the_mean():
    hidden, found = states(), [w.requires_grad_() for w in weights()]
    target, mean = Tokens.of(hidden).mixed(*found)
    expected = [w.detach().clone().requires_grad_() for w in found]
    target_2, mean_2 = mixed(hidden, *expected)
    torch.testing.assert_close(target, target_2)
    torch.testing.assert_close(mean, mean_2)
    assert not target.requires_grad
    by = torch.randn(mean.shape, generator=torch.Generator().manual_seed(2))
    (mean * by).sum().backward()
    (mean_2 * by).sum().backward()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_layers_that_are_not_asked_for_do_not_matter(dtype):
    parts = normalise(states(), dtype)
    chosen = [2, 0]
    some = Tokens(type(parts)(*(part[:, chosen] for part in parts)), np.arange(N))
    tokens = Tokens(parts, np.arange(N))
    layer_weights, chan_weights = weights(layers=2)
    assert torch.equal(tokens.hidden(chosen), some.hidden())
    assert torch.equal(tokens.mean(chosen), some.mean())
    for a, b in zip(
        tokens.mixed(layer_weights, chan_weights, chosen),
        some.mixed(layer_weights, chan_weights),
        strict=True,
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_mixture_does_not_depend_on_where_a_window_lies(dtype):
    """Rows of 3 * 5 * 4 * 9 numbers: some begin on 64 bytes and some between."""
    layer_weights, chan_weights = weights()
    parts = normalise(states(), dtype)
    whole = Tokens(parts, np.arange(N)).mixed(layer_weights, chan_weights)[0]
    for row in range(N):
        alone = type(parts)(*(part[row : row + 1].clone() for part in parts))
        found = Tokens(alone, np.arange(1)).mixed(layer_weights[row : row + 1], chan_weights)[0]
        assert torch.equal(found[0], whole[row])


def test_half_precision_rounds_the_target_little():
    layer_weights, chan_weights = weights()
    exact, _ = Tokens.of(states()).mixed(layer_weights, chan_weights)
    half = Tokens(normalise(states(), torch.float16), np.arange(N))
    rounded, mean = half.mixed(layer_weights, chan_weights)
    torch.testing.assert_close(rounded, exact, atol=1e-3, rtol=0)
    assert mean.dtype == rounded.dtype == half.hidden().dtype == torch.float32


@pytest.mark.parametrize(
    "key", [2, slice(1, 4), [4, 0], (slice(None), 1), ([3, 1], -1), (0, [2, 0]), (1, 1)]
)
def test_hidden_states_are_indexed_like_an_array(key):
    hidden = states()
    rows, layers = key if isinstance(key, tuple) else (key, slice(None))
    expected = hidden.numpy()[rows]
    expected = expected[layers] if isinstance(rows, int) else expected[:, layers]
    found = Held(normalise(hidden))[key]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_selection_of_a_selection_keeps_its_order():
    hidden = states()
    logits = np.arange(2.0 * N, dtype=np.float32).reshape(N, 2)
    outputs = TeacherOutputs(logits, hidden.numpy())
    part = outputs.select(np.array([5, 3, 1])).select(np.array([2, 0]))
    assert part.hidden.shape == (2, LAYERS, CHANS, PATCHES, D)
    np.testing.assert_array_equal(part.logits, logits[[1, 5]])
    np.testing.assert_allclose(part.hidden, hidden[[1, 5]], atol=1e-5)
    found, tokens = part.batch(np.array([1]))
    np.testing.assert_array_equal(found, logits[[5]])
    torch.testing.assert_close(tokens.hidden(), hidden[[5]])
