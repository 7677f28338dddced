"""The card's plots show the figures they are given, and are the same bytes for the same figures."""

from dataclasses import replace

import card_facts
import numpy as np
import pytest

from distill.metrics import by_subject
from export.card import plots


@pytest.fixture(scope="module")
def facts():
    return card_facts.whole()


def test_the_same_figures_give_the_same_bytes(facts, tmp_path):
    first, second = (plots.draw(facts, tmp_path / name) for name in "ab")
    assert list(first) == ["confusion", "subjects", "sensitivity", "router"]
    for one, other in zip(first.values(), second.values(), strict=True):
        content = (tmp_path / one).read_bytes()
        assert content == (tmp_path / other).read_bytes()
        assert content.startswith(b"\x89PNG")


def test_confusion_is_by_true_class(facts):
    figure = plots.confusion(facts)
    full, integer = figure.axes
    assert (full.get_title(), integer.get_title()) == ("fp32.onnx", "int8.tflite")
    chosen = facts.predictions["int8.tflite"].argmax(1)
    share = np.mean(chosen[facts.y == 1] == 2)
    assert integer.texts[1 * 4 + 2].get_text() == f"{share:.2f}"
    assert [label.get_text() for label in full.get_yticklabels()] == list(card_facts.LABELS)


def test_bars_are_the_accuracy_of_each_subject(facts):
    (axes,) = plots.subjects(facts).axes
    teacher, full, integer = axes.containers
    want = by_subject(facts.predictions["int8.tflite"], facts.y, facts.subject)
    assert [bar.get_height() for bar in integer] == list(want.values())
    assert teacher.get_label() == "teacher, mean of seeds"
    assert [bar.get_height() for bar in teacher] == [
        min(1.0, bar.get_height() + 0.05) for bar in full
    ]


def test_a_teacher_that_saw_other_subjects_is_left_out(facts):
    arms = {"teacher": {"by_subject": {"A01": card_facts.measured(0.5)}}}
    other = replace(facts, training=replace(facts.training, arms=arms))
    (axes,) = plots.subjects(other).axes
    assert [bars.get_label() for bars in axes.containers] == ["fp32.onnx", "int8.tflite"]


def test_many_subjects_become_lines_in_rising_order(facts):
    many = replace(facts, subject=np.array([f"S{k // 12:03d}" for k in range(len(facts.y))]))
    (axes,) = plots.subjects(many).axes
    assert not axes.containers
    assert (np.diff(axes.lines[0].get_ydata()) >= 0).all()
    assert "36 test subjects" in axes.get_xlabel()


def test_one_subject_needs_no_plot(facts):
    assert plots.subjects(replace(facts, subject=np.full(len(facts.y), "A01"))) is None


def test_which_formats_are_shown():
    assert plots.shown_formats({"torch": 0, "int8.onnx": 0, "int8.tflite": 0}) == {
        "full": "torch",
        "integer": "int8.tflite",
    }
    assert plots.shown_formats({"int16x8.tflite": 0}) == {}
    assert plots.shown_formats({"uint8.onnx": 0}) == {"integer": "uint8.onnx"}


def test_operators_by_harm():
    found = plots.snr_by_operator(card_facts.quantisation()["sensitivity"])
    assert found[0] == ("conv_5 (Conv)", 15.0)
    assert len(found) == 6, "an operator that changes nothing has no figure"
    assert plots.snr_by_operator(None) == []


def test_a_router_with_one_layer_has_nothing_to_show(facts):
    assert plots.router({"layers": ["blocks.0"], "mean_weight": [1.0]}) is None
    (axes,) = plots.router(facts.training.router).axes
    assert [bar.get_height() for bar in axes.patches] == facts.training.router["mean_weight"]
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(k) for k in range(12)]
