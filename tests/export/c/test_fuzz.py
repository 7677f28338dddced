"""A few hundred damaged models on every run; and that the fuzzer sees what it looks for."""

from __future__ import annotations

import random
import time
from pathlib import Path

import fuzz
import mutate
import numpy as np
import pytest
from oracles import ours

from export.c.generate import generate
from targets.errors import InputError


def test_damaged_models_are_generated_or_refused():
    summary = fuzz.run(300, seed=3, sanitize_each=25)
    assert summary.findings == []
    assert summary.accepted > 30
    assert sum(summary.refused.values()) > 150
    assert summary.sanitized >= 2
    assert len(summary.mutations) == 14
    assert len(summary.refused) > 15


@pytest.mark.parametrize("name", mutate.small_models())
def test_every_small_model_is_whole(name, tmp_path):
    generate(mutate.small_models()[name], tmp_path / "c")


def test_small_models_bring_every_operator_and_compile():
    model = mutate.small_models()["concatenation"]
    assert ours(model, np.zeros((1, 192), np.int8)).shape == (1, 288)


def test_a_mutant_is_the_same_on_every_run():
    model = mutate.small_models()["conv"]
    for number in range(40):
        first = mutate.mutant(random.Random(f"1/{number}"), model)
        assert mutate.mutant(random.Random(f"1/{number}"), model) == first


def _with_generate(monkeypatch, replacement) -> fuzz.Summary:
    monkeypatch.setattr(fuzz, "generate", replacement)
    return fuzz.run(1, seed=0)


def test_another_exception_is_a_finding(monkeypatch):
    def broken(_model: bytes, _out: Path) -> None:
        raise KeyError("buffer")

    [finding] = _with_generate(monkeypatch, broken).findings
    assert "mutant 0 of seed 0" in finding
    assert "KeyError: 'buffer'" in finding


def test_a_hang_is_a_finding(monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 0.05)

    def busy(_model: bytes, _out: Path) -> None:
        while time.process_time() < end:
            pass

    end = time.process_time() + 1
    summary = _with_generate(monkeypatch, busy)
    assert "TooSlow" in summary.findings[0]
    assert summary.slowest < 0.5


def test_too_much_memory_is_a_finding(monkeypatch):
    summary = _with_generate(monkeypatch, lambda *_: np.empty(2 * fuzz.BYTES, np.uint8))
    assert "MemoryError" in summary.findings[0]


def test_the_sanitizers_see_one_byte_too_far(tmp_path):
    generate(mutate.small_models()["relu6"], tmp_path / "c")
    assert fuzz.sanitize(tmp_path / "c") == ""
    source = tmp_path / "c" / "model.c"
    text = source.read_text()
    assert ".count = 192," in text
    source.write_text(text.replace(".count = 192,", ".count = 193,"))
    assert "heap-buffer-overflow" in fuzz.sanitize(tmp_path / "c")


def test_reasons_do_not_depend_on_the_model():
    one = InputError("tensor 3 has an unusable shape", where="node 0")
    two = InputError("tensor 12 has an unusable shape", where="node 7")
    assert fuzz.reason(one) == fuzz.reason(two) == "tensor N has an unusable shape"
