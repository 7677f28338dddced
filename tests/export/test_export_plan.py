"""What can be made is settled before anything expensive is done; what cannot is said, not lost."""

from dataclasses import replace

import onnx
import pytest
from made_sources import source_of, without
from onnx_models import Maker

from export.plan import load_targets, make_plan
from export.static_memory import check_fits, static_memory
from targets.errors import InputError


@pytest.fixture
def source(mic):
    return source_of(mic.proto, mic.windows.shape[2])


def foreign() -> onnx.ModelProto:
    """A model whose activation the integer targets do not have."""
    maker = Maker()
    x = maker.conv(maker.unsqueeze(), 4, 6)
    return maker.model(maker.head(maker.node("Softplus", x), 240))


def test_everything_can_be_made_of_a_student(source, mic):
    plan = make_plan(source, mic.proto, (), ())
    assert "c" in plan.formats
    assert "int16x8.tflite" in plan.formats
    assert plan.left_out == {}
    assert plan.memory.ram_bytes > mic.graph.tensors[mic.graph.input].size


def test_the_static_figures_are_those_of_the_library(mic, tmp_path):
    from export.c.generate import generate

    made = generate(mic.int8, tmp_path / "c")
    need = static_memory(mic.graph)
    assert need.arena_bytes == made.arena_bytes
    assert need.weight_bytes == pytest.approx(made.weight_bytes, rel=0.02)


def test_what_cannot_be_made_is_left_out_with_node_and_operator(source):
    plan = make_plan(source, foreign(), (), ())
    assert plan.formats == ("fp32.onnx", "int8.onnx")
    assert set(plan.left_out) == {
        "fp32.tflite", "dynamic.tflite", "int8.tflite", "int16x8.tflite", "c",
    }  # fmt: skip
    assert "Softplus is not an operator of the targets" in plan.left_out["c"]
    assert "node softplus" in plan.left_out["c"]
    assert plan.graph is None


@pytest.mark.parametrize(
    ("formats", "targets", "asker"),
    [(("int8.tflite",), (), "--formats"), ((), ("nucleo-l4r5zi",), "--target nucleo-l4r5zi")],
)
def test_what_was_asked_for_and_cannot_be_made_is_refused(source, formats, targets, asker):
    with pytest.raises(InputError, match=rf"node softplus.*{asker} asks for int8.tflite.*Softplus"):
        make_plan(source, foreign(), formats, load_targets(targets))


def test_without_training_windows_nothing_is_quantised(source, mic):
    plan = make_plan(without(source, "train"), mic.proto, (), ())
    assert plan.formats == ("fp32.onnx", "fp32.tflite", "dynamic.tflite")
    assert "no training windows" in plan.left_out["int8.onnx"]
    with pytest.raises(InputError, match=r"asks for int8.onnx.*no training windows.*--data"):
        make_plan(without(source, "train"), mic.proto, ("int8.onnx",), ())


def test_a_board_that_is_too_small_is_refused_with_the_widest_operator(source, mic):
    (board,) = load_targets(("nucleo-l4r5zi",))
    need = static_memory(mic.graph)
    check_fits(need, board)
    tight = replace(need, arena_bytes=board.sram_bytes)
    with pytest.raises(InputError, match=f"more RAM .* most is alive at node {need.widest}"):
        check_fits(tight, board)
    with pytest.raises(InputError, match=r"more flash .*allowed 2.00 MiB"):
        check_fits(replace(need, weight_bytes=2**22), board)
