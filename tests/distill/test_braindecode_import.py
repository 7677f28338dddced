import subprocess
import sys

import pytest

from distill.braindecode_import import braindecode_models

# Three machines: torchaudio as it is here, one whose extension cannot be loaded, one without it.
BROKEN = """
import sys, types, importlib.abc, importlib.machinery
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torchaudio._extension" :
            raise OSError("libcudart.so.13: cannot open shared object file")
        if name == "torchaudio" and not HAS:
            raise ModuleNotFoundError("No module named 'torchaudio'", name="torchaudio")
sys.meta_path.insert(0, Finder())
"""


def child(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


def test_models_are_there():
    models = braindecode_models()
    assert models.Labram.__name__ == "Labram"
    assert models.CBraMod.__name__ == "CBraMod"
    assert braindecode_models() is models


def test_python_half_of_torchaudio_works_afterwards():
    braindecode_models()
    import torch
    import torchaudio

    assert torchaudio.functional.resample(torch.zeros(1, 400), 200, 100).shape == (1, 200)


def test_an_extension_that_cannot_load_is_stubbed():
    done = child(
        "HAS = True\n" + BROKEN + "from distill.braindecode_import import braindecode_models\n"
        "print(braindecode_models().CBraMod.__name__)\n"
        "print(sys.modules['torchaudio._extension']._IS_TORCHAUDIO_EXT_AVAILABLE)"
    )
    assert done.stdout.split() == ["CBraMod", "False"], done.stderr


@pytest.mark.slow
def test_without_torchaudio_braindecode_speaks_for_itself():
    done = child(
        "HAS = False\n" + BROKEN + "from distill.braindecode_import import braindecode_models\n"
        "braindecode_models()"
    )
    assert done.returncode == 1
    assert "torchaudio" in done.stderr.splitlines()[-1]
    assert "_extension" not in done.stderr.splitlines()[-1]
