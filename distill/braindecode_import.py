"""The one place that imports braindecode, with a way round a torchaudio that cannot load.

braindecode imports torchaudio. Where torch is a CPU build and the package index offers torchaudio
only as a CUDA build, torchaudio's compiled extension looks for CUDA libraries that are not there
and the import fails, although braindecode uses none of the extension: Resample, lfilter and
Spectrogram are Python over torch. Then, and only then, a stub stands in for the module that loads
the extension, so that torchaudio's Python half is imported alone.
"""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any

_STUBBED = "torchaudio._extension"


def _needs_stub() -> bool:
    """Whether torchaudio's own extension fails to load here."""
    if "torchaudio" in sys.modules:
        return False
    try:
        import torchaudio  # noqa: F401
    except OSError:  # the dynamic loader: libcudart and the like are missing
        return True
    except ImportError:
        return False  # torchaudio is absent altogether: braindecode says so itself
    return False


def _stub() -> ModuleType:
    """A `torchaudio._extension` that says: no compiled extension, no alignment."""

    def fail_if_no_align(function: Any) -> Any:
        def refuse(*_args: Any, **_kwargs: Any) -> None:
            raise RuntimeError("this torchaudio is used without its compiled extension")

        return refuse

    module: Any = ModuleType(_STUBBED)
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module._check_cuda_version = lambda: None
    module.fail_if_no_align = fail_if_no_align
    return module


def braindecode_models() -> ModuleType:
    """Return :mod:`braindecode.models`, imported safely."""
    if _needs_stub():
        # The failed attempt leaves half-initialised torchaudio modules behind.
        for name in [key for key in sys.modules if key.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules[_STUBBED] = _stub()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import braindecode.models

    return braindecode.models
