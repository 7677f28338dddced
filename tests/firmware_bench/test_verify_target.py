"""Golden vectors replayed on an emulated board, found from the export by entry point."""

import shutil

import numpy as np
import pytest
from artefacts import TFLITE, WINDOWS, seal

from export import verify_target
from export.verify_target import verify_on
from targets.errors import InputError
from targets.target import all_ids

needs_model = pytest.mark.skipif(not TFLITE.exists(), reason="skipped: no data")
needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))),
    reason="no cross compiler or emulator: run make setup",
)


@pytest.fixture
def folder(tmp_path, artefact_folder):
    return shutil.copytree(artefact_folder, tmp_path / "copy")


@needs_model
@needs_tools
@pytest.mark.parametrize(("target", "core"), [("nucleo-l4r5zi", "m4"), ("corstone300", "m55")])
def test_every_byte_is_equal_on_the_emulated_board(artefact_folder, target, core):
    ((what, verdict),) = verify_on(artefact_folder, target)
    assert what.startswith(f"C library on the cortex-{core} of {target} (emulated: QEMU")
    assert verdict.passed
    assert verdict.stage == "int8.exact"
    assert verdict.parity.n == WINDOWS
    assert verdict.lsb == {0: WINDOWS * 4}


@needs_model
@needs_tools
def test_one_step_in_one_byte_fails(folder):
    with np.load(folder / "golden.npz") as file:
        arrays = dict(file)
    arrays["outputs_int8"][1, 2] ^= 1
    np.savez(folder / "golden.npz", **arrays)
    seal(folder)
    ((_, verdict),) = verify_on(folder, "nucleo-l4r5zi")
    assert verdict.failed == ("max_abs 1, required <= 0",)
    assert sorted(verdict.lsb.values()) == [1, WINDOWS * 4 - 1]


@needs_model
@needs_tools
def test_a_library_that_does_not_compile_is_an_error_that_says_where(folder):
    path = folder / "c" / "model.c"
    path.write_text(path.read_text() + "\nint broken(void) { return missing; }\n")
    seal(folder)
    with pytest.raises(InputError, match=r"model\.c: C library does not compile for cortex-m4"):
        list(verify_on(folder, "nucleo-l4r5zi"))


def test_an_artefact_without_a_library_cannot_be_checked_there(folder):
    shutil.rmtree(folder / "c", ignore_errors=True)
    seal(folder)
    with pytest.raises(InputError, match="has no C library"):
        list(verify_on(folder, "rp2040"))


def test_a_damaged_artefact_is_refused_before_anything_runs(folder):
    (folder / "golden.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"golden\.npz: file differs from the manifest"):
        list(verify_on(folder, "nucleo-l4r5zi"))


def test_an_unknown_target_is_refused_with_the_list_of_all(artefact_folder):
    with pytest.raises(InputError, match="unknown target") as caught:
        list(verify_on(artefact_folder, "nucleo-l4r5"))
    assert all(target in str(caught.value) for target in all_ids())
    assert 'Did you mean "nucleo-l4r5zi"?' in str(caught.value)


def test_every_target_has_someone_who_can_check_it():
    assert all(
        callable(verify_target._find(verify_target.targets_module.load(t))) for t in all_ids()
    )


def test_an_old_installation_says_what_to_do(artefact_folder, monkeypatch):
    monkeypatch.setattr(verify_target, "GROUP", "dlink.none")
    with pytest.raises(InputError, match=r"nothing installed can check this .*make setup"):
        list(verify_on(artefact_folder, "host"))
