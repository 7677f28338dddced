"""Which formats a target wants."""

import pytest

from export.formats import DEFAULT, FORMATS, wanted
from export.plan import load_targets
from targets.errors import InputError


def test_without_a_word_it_is_everything_but_the_x86_form():
    assert tuple(wanted((), ())) == DEFAULT
    assert set(FORMATS) - set(DEFAULT) == {"uint8.onnx"}
    assert set(wanted((), ()).values()) == {""}


def test_a_microcontroller_wants_c_and_what_it_is_made_from():
    found = wanted((), load_targets(("nucleo-l4r5zi",)))
    assert found == {
        "fp32.onnx": "",
        "int8.tflite": "--target nucleo-l4r5zi",
        "c": "--target nucleo-l4r5zi",
    }


def test_arm_gets_signed_and_x86_unsigned_activations():
    pi, host = (wanted((), load_targets((name,))) for name in ("rpi4b", "host"))
    assert "int8.onnx" in pi
    assert "uint8.onnx" not in pi
    assert "uint8.onnx" in host
    assert "int8.onnx" not in host


def test_targets_and_names_add_up_in_the_tables_order():
    found = list(wanted(("int16x8.tflite", "c"), load_targets(("rpi4b", "nucleo-l4r5zi"))))
    assert found == [name for name in FORMATS if name != "uint8.onnx"]
    assert wanted(("c",), ())["int8.tflite"] == "--formats"


def test_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(InputError, match=r"int9\.tflite.*Did you mean int8\.tflite"):
        wanted(("int9.tflite",), ())
    with pytest.raises(InputError, match="rpi4b"):
        load_targets(("rpi4",))
