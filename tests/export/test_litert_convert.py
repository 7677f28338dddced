"""Networks outside our operators as TFLite; needs the extra `litert`, absent in development."""

import numpy as np
import pytest
import student
import torch
from onnx_models import Maker
from torch import nn

from distill.braindecode_import import braindecode_models
from export import from_onnx, litert_convert
from export.litert_convert import convert_fp32, convert_int8
from export.runtimes import TfliteModel
from targets.errors import InputError

N_TIMES = 256
installed = pytest.mark.skipif(
    not litert_convert.available(), reason="litert-torch is not installed"
)


def network(name, steps):
    torch.manual_seed(0)
    kind = getattr(braindecode_models(), name)
    model = kind(n_chans=19, n_outputs=3, n_times=N_TIMES, sfreq=200.0)
    return student.train(model, steps, n_times=N_TIMES)


@installed
@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("ShallowFBCSPNet", 25), ("EEGConformer", 5)])
def test_float_equals_torch_and_int8_decides_alike(name, steps, capfd):
    model, (x, y) = network(name, steps), student.windows(60, n_times=N_TIMES, seed=9)
    example = torch.from_numpy(x[:1])
    with torch.no_grad():
        logits = model(torch.from_numpy(x)).numpy()
    calibration, _ = student.windows(48, n_times=N_TIMES, seed=5)
    fp32 = convert_fp32(model.train(), example)
    assert model.training  # as it was
    int8 = convert_int8(model, example, calibration)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    found = TfliteModel(fp32).run(x)
    assert TfliteModel(fp32).input_shape == (1, 19, N_TIMES, 1)
    assert np.abs(found - logits).max() < 1e-4
    assert len(int8) < 0.6 * len(fp32)
    quantised = TfliteModel(int8)
    assert quantised.input_quant is not None
    out = quantised.run(x)
    cosine = (out * logits).sum() / np.linalg.norm(out) / np.linalg.norm(logits)
    agreement = (out.argmax(1) == logits.argmax(1)).mean()
    with capfd.disabled():
        print(f"\n{name}: {len(fp32)} and {len(int8)} bytes, fp32 max diff "
              f"{np.abs(found - logits).max():.1e}, int8 cosine {cosine:.4f}, agreement "
              f"{agreement:.3f}, accuracy {(logits.argmax(1) == y).mean():.3f} -> "
              f"{(out.argmax(1) == y).mean():.3f}")  # fmt: skip
    assert cosine > 0.98
    assert agreement > 0.9


@installed
def test_a_network_that_cannot_be_exported_is_named():
    class Branch(nn.Module):
        def forward(self, x):
            return x.mean((1, 2)) if x.sum() > 0 else x.amax((1, 2))

    with pytest.raises(InputError, match=r"Branch: the network cannot be converted"):
        convert_fp32(Branch(), torch.zeros(1, 4, 16))


@installed
def test_calibration_needs_windows_and_a_known_method():
    with pytest.raises(InputError, match="no calibration window"):
        litert_convert.quantise(b"", np.zeros((0, 4, 16), np.float32))
    with pytest.raises(InputError, match="unknown calibration method"):
        litert_convert.quantise(b"", np.zeros((1, 4, 16), np.float32), method="entropy")


@pytest.mark.skipif(litert_convert.available(), reason="litert-torch is installed")
def test_without_the_extra_the_error_says_what_to_install():
    with pytest.raises(InputError, match=r"litert-torch and ai-edge-quantizer .*dlink\[litert\]"):
        convert_fp32(nn.Identity(), torch.zeros(1, 4, 16))
    with pytest.raises(InputError, match=r"not installed"):
        convert_int8(nn.Identity(), torch.zeros(1, 4, 16), np.zeros((1, 4, 16), np.float32))


def test_an_onnx_file_outside_our_operators_is_told_the_way_round():
    maker = Maker()
    x = maker.node("Softplus", maker.conv(maker.unsqueeze(), 4, 2))
    with pytest.raises(InputError) as caught:
        from_onnx.read(maker.model(maker.head(x, 80)))
    said = str(litert_convert.no_way(caught.value))
    assert said.startswith("node softplus")
    assert "Softplus is not an operator" in said
    assert "braindecode:NAME" in said
