"""The ctypes seam, and the status codes of the C function through it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from models import chain_model, chain_model_s16, conv_model

from export.c.generate import generate
from export.c.host import HostModel
from targets.errors import InputError

OK, NULL_POINTER, TOO_SMALL, ALIGNMENT = range(4)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host") / "c"
    generate(chain_model(), folder, name="chain")
    return HostModel(folder)


@pytest.fixture
def memory(host):
    """Input, output and an aligned arena; the arrays keep the memory alive."""
    arrays = np.zeros(36, np.int8), np.zeros(18, np.int8), np.zeros(host.arena_bytes + 8, np.int8)
    arena = arrays[2].ctypes.data
    arena += -arena % host.arena_align
    yield arrays[0].ctypes.data, arrays[1].ctypes.data, arena
    del arrays


def test_header_figures_are_the_models(host):
    assert (host.input_bytes, host.output_bytes, host.arena_align) == (36, 18, 4)
    assert host.name == "chain"
    assert host.hash == hashlib.sha256(chain_model()).hexdigest()[:16]


def test_ok(host, memory):
    assert host.invoke(*memory, host.arena_bytes) == OK


@pytest.mark.parametrize("position", [0, 1, 2])
def test_null_pointer(host, memory, position):
    addresses = [0 if i == position else address for i, address in enumerate(memory)]
    assert host.invoke(*addresses, host.arena_bytes) == NULL_POINTER


def test_arena_too_small(host, memory):
    assert host.invoke(*memory, host.arena_bytes - 1) == TOO_SMALL
    assert host.invoke(*memory, 0) == TOO_SMALL


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_arena_misaligned(host, memory, shift):
    source, target, arena = memory
    assert host.invoke(source, target, arena + shift, host.arena_bytes) == ALIGNMENT


def test_run_refuses_other_shapes_and_types(host):
    with pytest.raises(InputError, match=r"allowed int8 \(N, 36\)"):
        host.run(np.zeros((2, 35), np.int8))
    with pytest.raises(InputError, match="float64"):
        host.run(np.zeros((2, 36)))


def test_int16_model_takes_and_gives_int16(tmp_path):
    generate(chain_model_s16(), tmp_path / "c")
    host = HostModel(tmp_path / "c")
    assert (host.dtype, host.input_bytes, host.output_bytes) == (np.int16, 120, 40)
    assert host.run(np.zeros((3, 60), np.int16)).shape == (3, 20)
    with pytest.raises(InputError, match=r"int8 \(3, 60\), allowed int16 \(N, 60\)"):
        host.run(np.zeros((3, 60), np.int8))


def test_rows_do_not_influence_each_other(host):
    rows = np.random.default_rng(0).integers(-128, 128, (9, 36), dtype=np.int8)
    np.testing.assert_array_equal(host.run(rows[::-1]), host.run(rows)[::-1])


def test_folder_without_a_library_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"model\.c is missing"):
        HostModel(tmp_path)


def test_broken_source_is_one_clear_error(tmp_path):
    generate(conv_model(), tmp_path / "c")
    (tmp_path / "c" / "model.c").write_text("int broken(\n")
    with pytest.raises(InputError, match=r"does not compile: .*error"):
        HostModel(tmp_path / "c")


def test_missing_compiler_is_named(tmp_path, monkeypatch):
    generate(conv_model(), tmp_path / "c")
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(InputError, match="no-such-compiler: no C compiler found"):
        HostModel(tmp_path / "c")
