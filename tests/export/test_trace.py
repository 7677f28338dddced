from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from chains import Chain
from torch import nn

from export import parity, runtimes, trace
from targets.errors import InputError


class TinyTeacher(nn.Module):
    """Patches, a transformer layer with GELU and LayerNorm, a head: what a teacher is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Linear(50, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True)
        self.head = nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(x.unflatten(-1, (4, 50)).flatten(1, 2))
        return self.head(self.layer(tokens).mean(dim=1))


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(-1) if x.sum() > 0 else x.std(-1)


def test_model_is_static_named_and_in_one_file(mic: Chain) -> None:
    source, target = mic.proto.graph.input[0], mic.proto.graph.output[0]
    assert (source.name, target.name) == ("eeg", "logits")
    assert [d.dim_value for d in source.type.tensor_type.shape.dim] == [1, 19, 800]
    assert [d.dim_value for d in target.type.tensor_type.shape.dim] == [1, 3]
    assert [o.version for o in mic.proto.opset_import] == [20]
    assert not any(
        onnx.external_data_helper.uses_external_data(t) for t in mic.proto.graph.initializer
    )
    assert not list(mic.path.parent.glob(".*.part"))


def test_batch_norms_are_folded(chain: Chain) -> None:
    assert "BatchNormalization" not in {node.op_type for node in chain.proto.graph.node}


def test_no_source_path_or_stack_trace_is_left(chain: Chain) -> None:
    content = chain.path.read_bytes()
    assert b"stack_trace" not in content
    assert b".py" not in content
    assert str(Path.cwd()).encode() not in content


def test_onnx_equals_torch(chain: Chain) -> None:
    got = runtimes.OnnxModel(chain.path).run(chain.windows)
    result = parity.check("onnx.fp32", parity.compare(chain.logits, got))
    assert result.passed, result.failed


def test_a_transformer_exports_silently_and_stays_in_its_mode(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    teacher = TinyTeacher()
    teacher.head.eval()  # a frozen part stays frozen
    windows = np.random.default_rng(0).normal(size=(20, 3, 200)).astype(np.float32)
    trace.export_onnx(teacher, torch.from_numpy(windows[:1]), tmp_path / "teacher.onnx")
    assert capfd.readouterr() == ("", "")
    assert teacher.training
    assert not teacher.head.training
    with torch.no_grad():
        logits = teacher.eval()(torch.from_numpy(windows)).numpy()
    got = runtimes.OnnxModel(tmp_path / "teacher.onnx").run(windows)
    result = parity.check("teacher.fp32", parity.compare(logits, got))
    assert result.passed, result.failed


def test_what_cannot_be_traced_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"Branching: the model cannot be exported to ONNX \(found"
    ):
        trace.export_onnx(Branching(), torch.ones(1, 3, 50), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
