import struct

import pytest

from distill.plots import plot_losses, plot_router

CURVES = {
    "epoch": [0.0, 1.0, 2.0],
    "train_ce": [0.7, 0.5, 0.4],
    "train_mimic": [0.9, 0.8, 0.7],
    "train_loss": [1.6, 1.3, 1.1],
    "train_alpha_0": [0.5, 0.3, 0.2],
    "train_alpha_1": [0.5, 0.7, 0.8],
    "train_alpha_entropy": [1.0, 0.88, 0.72],
    "val_auroc": [0.5, 0.6, 0.7],
    "val_loss": [0.7, 0.6, 0.6],
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, for a look at what they show."""
    from matplotlib.figure import Figure

    figures, savefig = [], Figure.savefig

    def watch(figure, *args, **kwargs):
        figures.append(figure)
        return savefig(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", watch)
    return figures


def shown(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def assert_png(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width > height > 200


def test_losses_stand_under_their_own_names_and_the_router_apart(tmp_path, drawn):
    plot_losses(CURVES, tmp_path / "losses.png")
    assert_png(tmp_path / "losses.png")
    losses, chosen = drawn[0].axes
    assert shown(losses) == {name: CURVES[f"train_{name}"] for name in ("ce", "mimic", "loss")}
    assert shown(chosen) == {"auroc": CURVES["val_auroc"]}


def test_router_weights_bear_the_layers_names(tmp_path, drawn):
    plot_router(CURVES, ["blocks.3", "blocks.7"], tmp_path / "router.png")
    assert_png(tmp_path / "router.png")
    weights, spread = drawn[0].axes
    assert shown(weights) == {
        "blocks.3": CURVES["train_alpha_0"], "blocks.7": CURVES["train_alpha_1"],
    }  # fmt: skip
    assert shown(spread) == {"entropy": CURVES["train_alpha_entropy"]}


def test_a_plot_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        plot_router(CURVES, ["a", "b", "absent"], tmp_path / "router.png")
    assert list(tmp_path.iterdir()) == []
