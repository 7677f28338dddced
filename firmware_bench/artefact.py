"""Read an artefact folder for the bench: checksums first, then manifest, training, golden."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import golden, manifest
from export.golden import Golden
from export.untrusted import check_models
from targets.errors import InputError
from targets.files import read_json

#: "student.int8.tflite" -> model "student", format "int8.tflite".
_MODEL_FILE = re.compile(r"(student|teacher)\.([a-z0-9]+\.(?:onnx|tflite))")


@dataclass(frozen=True)
class Artefact:
    """A verified artefact folder: every file in it has the checksum of its manifest."""

    path: Path
    manifest: dict[str, Any]
    training: dict[str, Any] | None

    def models(self) -> dict[tuple[str, str], Path]:
        """Return the model files by (model, format), student first, in the manifest's order."""
        found = {}
        for name in self.manifest["files"]:
            if match := _MODEL_FILE.fullmatch(name):
                found[match[1], match[2]] = self.path / name
        return dict(sorted(found.items(), key=lambda item: item[0][0]))

    def facts(self, model: str) -> dict[str, Any]:
        """Return the manifest's static figures of "student" or "teacher" (empty if none)."""
        return dict(self.manifest.get("models", {}).get(model, {}))

    def golden(self, *keys: str) -> Golden:
        """Load arrays of golden.npz; a missing one is an InputError that names it."""
        return golden.load(self.path, *keys)


def load(path: Path) -> Artefact:
    """Open an artefact folder; its seal and the checksum of every file in it are verified.

    Raises
    ------
    InputError
        No artefact, an unknown schema version, or a file that is missing, differs or is not
        listed: it is named.
    """
    if not path.is_dir():
        raise InputError(
            "artefact folder not found",
            where=path,
            todo="Give the folder that dlink-export wrote.",
        )
    found = manifest.load(path).model_dump(mode="json")
    check_models(path)
    training = path / "training.json"
    return Artefact(
        path, found, read_json(training, "training record") if training.exists() else None
    )
