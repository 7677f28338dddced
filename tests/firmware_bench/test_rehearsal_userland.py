"""The emulated board's userland: its table of versions, and what stands once it is built."""

import struct
from pathlib import Path

import pytest
from rehearsal_rig import needs_board

from firmware_bench.rehearsal import userland
from firmware_bench.rehearsal.userland import USERLANDS
from targets.errors import InputError

ROOT = Path(__file__).parents[2]
MACHINE = {"arm64": 183, "armhf": 40}  # e_machine of ELF files


@pytest.fixture
def nothing_built(tmp_path, monkeypatch):
    monkeypatch.setenv("DLINK_REHEARSAL_DIR", str(tmp_path))
    return tmp_path


def pins(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line.strip() for line in lines if "==" in line}


def test_versions_are_those_that_this_machine_has():
    here, tflite = pins("constraints.txt"), pins("constraints-tflite.txt")
    sites = USERLANDS["arm64"].sites
    assert set(sites["onnxruntime"] + sites["litert"]) <= here
    assert set(sites["tflite-runtime"]) <= tflite
    assert set(USERLANDS["armhf"].sites["tflite-runtime"]) <= tflite


def test_without_a_build_the_todo_names_the_command(nothing_built):
    assert not userland.is_built("arm64")
    with pytest.raises(InputError, match=r"rehearsal board is not built.*make rehearsal"):
        userland.root("arm64")
    with pytest.raises(InputError, match="make rehearsal"):
        userland.site("armhf", "tflite-runtime")


def test_a_stamp_of_other_versions_counts_as_not_built(nothing_built):
    folder = nothing_built / "armhf"
    folder.mkdir()
    (folder / "stamp").write_text("of last year")
    assert not userland.is_built("armhf")


def test_an_unknown_architecture_is_refused(nothing_built):
    with pytest.raises(InputError, match=r"unknown architecture .*riscv64.*arm64, armhf"):
        userland.root("riscv64")


def test_a_failed_build_leaves_nothing_and_names_the_tool(nothing_built, monkeypatch):
    monkeypatch.setenv("PATH", str(nothing_built))
    with pytest.raises(InputError, match=r"mmdebstrap: program is not installed.*make rehearsal"):
        userland.build("armhf", say=lambda text: None)
    assert list(nothing_built.iterdir()) == []


@needs_board
@pytest.mark.parametrize("arch", USERLANDS)
def test_programs_are_of_the_architecture(arch):
    header = (userland.root(arch) / "usr/bin/python3").read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", header, 18) == (MACHINE[arch],)


@needs_board
@pytest.mark.parametrize("arch", USERLANDS)
def test_a_second_build_finds_it_in_place(arch):
    said = []
    userland.build(arch, said.append)
    assert len(said) == 1
    assert "in place" in said[0]


@needs_board
def test_a_runtime_that_has_no_wheel_is_refused():
    with pytest.raises(InputError, match=r"no such runtime.*onnxruntime.*tflite-runtime"):
        userland.site("armhf", "onnxruntime")
