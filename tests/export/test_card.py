"""The model card says what is known of a model, and nothing of what is not."""

import re
from dataclasses import replace

import card_facts
import numpy as np
import pytest

from distill.signal import SignalSpec
from export import card
from export.card import CardFacts


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return the folder and the text of a card with every section."""
    folder = tmp_path_factory.mktemp("card")
    (folder / "student.int8.tflite").write_bytes(b"x" * 39_000)
    card.write(folder, card_facts.whole())
    return folder, (folder / "MODEL_CARD.md").read_text()


def headings(text):
    return re.findall(r"^## (.+?)(?: \(|$)", text, re.MULTILINE)


def rows(text, heading):
    """Return the cells of the table below a heading."""
    part = text.split(f"## {heading}")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


def test_every_section_that_applies_is_there(written):
    assert headings(written[1]) == [
        "Signal contract",
        "Accuracy on held-out subjects",
        "What the formats cost",
        "Quantisation",
        "Preprocessing on the device",
        "Which teacher layers were distilled from",
        "Parity on the golden vectors",
    ]


def test_every_plot_that_is_named_is_drawn_and_no_other(written):
    folder, text = written
    named = re.findall(r"!\[.+\]\((.+)\)", text)
    assert sorted(named) == sorted(
        path.relative_to(folder).as_posix() for path in (folder / "plots").iterdir()
    )
    assert len(named) == 4
    assert all((folder / name).stat().st_size < 100_000 for name in named)


def test_the_head_names_the_model_its_source_and_its_limits(written):
    text = written[1]
    assert text.startswith(
        "# bnci\n\nMiC student of runs/bnci, distilled, seed 2. Decides between "
    )
    assert "30,512 parameters, against 5,818,372 of its teacher, labram." in text
    assert "**Not a medical device.** Trained on the recordings named below" in text
    assert "- 200 Hz, 800 samples a window; unit uV, divided by 100" in text
    assert "- band 0.5-45 Hz, notch none, reference as-recorded" in text


def test_accuracy_is_that_of_all_arms_with_what_a_guesser_gets(written):
    text = written[1]
    assert rows(text, "Accuracy") == [
        ["teacher", "0.620 ± 0.010", "-"],
        ["distilled", "0.580 ± 0.010", "0.900 ± 0.010"],
    ]
    limit = float(re.search(r"stays below a balanced accuracy of ([\d.]+)", text)[1])
    assert 0.25 < limit < 0.32
    assert "seed 2, chosen by val_kappa of the distilled student: test subjects had no" in text


def test_formats_have_size_accuracy_and_loss(written):
    full, integer, *_ = card_facts.logits()
    agree = np.mean(full.argmax(1) == integer.argmax(1))
    found = {row[0]: row[1:] for row in rows(written[1], "What the formats cost")}
    assert found["int8.tflite"][1] == "39,000"
    assert found["int8.tflite"][-1] == f"{agree:.3f}"
    assert found["fp32.onnx"][1:] == ["-", found["torch"][2], "+0.000", "1.000"]
    assert "- int16x8.tflite: an operator has no 16-bit form" in written[1]


def test_the_ladder_is_told_step_by_step(written):
    text = written[1]
    assert rows(text, "Quantisation") == [
        ["calibration", "as it comes", "+0.034", "0.980", "kept"],
        ["int16x8", "conv_5", "-", "0.980", "kept"],
        ["finetune", "3 epochs", "+0.010", "0.980", "taken back"],
    ]
    assert "Ranges: percentile. In int16x8: conv_5." in text
    worst = "conv_5 (Conv) 15.0 dB; conv_4 (Conv) 18.0 dB; conv_3 (Conv) 21.0 dB"
    assert f"Most sensitive operators: {worst}." in text
    assert "accuracy gate" not in text


def test_a_missed_gate_is_said_aloud(tmp_path):
    facts = card_facts.whole()
    missed = replace(facts, quantisation={**facts.quantisation, "passed": False})
    card.write(tmp_path, missed)
    assert "**Outside of the accuracy gate" in (tmp_path / "MODEL_CARD.md").read_text()


def test_preprocessing_gives_delay_and_error(written):
    assert "- causal IIR, from 22 channels at 250 Hz in uV\n- delay 42 ms\n" in written[1]
    assert "correlation 0.9910, error 12.0 % of the signal's standard deviation" in written[1]


def test_what_does_not_apply_is_left_out(tmp_path):
    signal = SignalSpec(ch_names=("C3", "C4"), sfreq=128, n_times=256)
    card.write(tmp_path, CardFacts("net", "An ONNX file, net.onnx", signal, ("a", "b"), 1234))
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert headings(text) == ["Signal contract"]
    assert "1,234 parameters." in text
    assert "test it on your own subjects" in text
    assert not (tmp_path / "plots").exists()


def test_without_training_the_test_windows_are_still_scored(tmp_path):
    card.write(tmp_path, replace(card_facts.whole(), training=None))
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert "Accuracy on the test windows" in headings(text)
    assert "Which teacher layers were distilled from" not in headings(text)
    assert "A guesser stays below" in text


def test_windows_without_labels_are_not_scored(tmp_path):
    facts = card_facts.whole()
    some = np.where(np.arange(len(facts.y)) % 2, facts.y, -1)
    assert len(replace(facts, y=some).labelled().y) == len(some) // 2
    assert replace(facts, y=np.full_like(some, -1)).labelled() is None
    card.write(tmp_path, replace(facts, y=np.full_like(some, -1), training=None, formats={}))
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert "Accuracy" not in text
    assert not (tmp_path / "plots" / "confusion.png").exists()


def test_simulated_recordings_are_named_so(tmp_path):
    facts = card_facts.whole()
    card.write(tmp_path, replace(facts, training=replace(facts.training, simulated=True)))
    assert "decodes no person" in (tmp_path / "MODEL_CARD.md").read_text()


def test_a_name_cannot_break_a_table(tmp_path):
    facts = replace(card_facts.whole(), parity=[("a | b\n| c", card_facts.whole().parity[0][1])])
    card.write(tmp_path, facts)
    assert "| a \\| b \\| c | 432 |" in (tmp_path / "MODEL_CARD.md").read_text()
