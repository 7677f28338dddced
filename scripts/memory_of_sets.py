"""How much memory a data set takes while it is written and trained on, against its size.

    python scripts/memory_of_sets.py [FACTOR ...]

Simulated sets of 1, 4 and 16 times 640 windows (19 electrodes, 4 s); each figure from a process of
its own. "Held" is the same set joined in memory, for comparison. Prints a Markdown table in MB.

Peaks are the kernel's: VmHWM. RssAnon is what a process cannot give back; pages of a memory map
(RssFile) count as resident while there is room, and the kernel drops them when there is not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SUBJECTS = 8
RECIPE = """
name = "memory"
[data]
source = "simulate"
[data.simulate]
n_subjects = {n}
n_trials = 80
[signal]
ch_names = ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2",
            "F7", "F8", "T7", "T8", "P7", "P8", "Fz", "Cz", "Pz"]
seconds = 4.0
[split]
kind = "within_session"
"""


def status(key: str) -> float:
    """A line of /proc/self/status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise KeyError(key)


def write(folder: Path, *, held: bool) -> dict[str, float]:
    """Write (or hold) the set of folder/recipe.toml; peaks before and after."""
    from distill import training  # noqa: F401 - what a run has imported anyway
    from distill.dataset import load_windows, write_windows
    from distill.recipe import load_recipe

    recipe = load_recipe(folder / "recipe.toml")
    imports = status("VmRSS")
    windows = load_windows(recipe) if held else write_windows(recipe, folder / "windows")
    return {
        "windows": len(windows),
        "bytes": windows.x.nbytes / 1e6,
        "imports": imports,
        "peak": status("VmHWM"),
    }


def train(folder: Path) -> dict[str, float]:
    """Two shuffled passes over every second window, in batches as training reads them."""
    import numpy as np
    import torch

    from distill import training  # noqa: F401 - what a run has imported anyway
    from distill.windows import Windows

    windows = Windows.load(folder / "windows")
    half = windows.select(np.arange(len(windows)) % 2 == 0)
    before, most, total = status("RssAnon"), 0.0, 0.0
    for epoch in range(2):
        order = np.random.default_rng(epoch).permutation(len(half))
        for start in range(0, len(half), 64):
            total += float(torch.from_numpy(half.x[order[start : start + 64]]).sum())
            most = max(most, status("RssAnon"))
    if not np.isfinite(total):
        raise ValueError("the samples are not finite")
    return {"anon_before": before, "anon_most": most, "file": status("RssFile")}


def measured(step: str, folder: Path) -> dict[str, Any]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, "--step", step, str(folder)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(out.splitlines()[-1]))


def main(factors: list[int]) -> None:
    """Print the table."""
    print("| windows | set | peak, held | peak, written | of it imports "
          "| training: RssAnon before | most | RssFile |")  # fmt: skip
    print("|---" * 8 + "|")
    for factor in factors:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "recipe.toml").write_text(RECIPE.format(n=SUBJECTS * factor))
            held, to_disk = measured("hold", folder), measured("write", folder)
            passed = measured("train", folder)
        row = [to_disk["bytes"], held["peak"], to_disk["peak"], to_disk["imports"],
               passed["anon_before"], passed["anon_most"], passed["file"]]  # fmt: skip
        print(f"| {to_disk['windows']} |", " | ".join(f"{v:.0f}" for v in row), "|", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        step, folder = sys.argv[2], Path(sys.argv[3])
        found = train(folder) if step == "train" else write(folder, held=step == "hold")
        print(json.dumps(found))
    else:
        main([int(a) for a in sys.argv[1:]] or [1, 4, 16])
