"""Run by test_export_faults.py inside a mount namespace: exports onto a disk that is too small.

Arguments: mount point, finished run, whole artefact, options. Prints one JSON object a try.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from export import manifest
from export.cli import main
from targets.errors import InputError

#: Room left for the new artefact, in parts of what the old one takes.
ROOMS = (0.0, 0.04, 0.15, 0.4, 0.7, 0.95, 2.0)


def mount(disk, how):
    subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(disk)], check=True)


def try_room(disk, run, options, size):
    """Export with `size` bytes of disk in all."""
    mount(disk, f"remount,size={size}")
    done = CliRunner().invoke(main, [run, "-o", str(disk / "out"), *options])
    try:
        manifest.load(disk / "out")
        whole = True
    except InputError:
        whole = False
    stderr = [line for line in done.stderr.splitlines() if line.startswith("dlink-export: ")]
    crash = None if done.exception is None or isinstance(done.exception, SystemExit) else (
        repr(done.exception)
    )  # fmt: skip
    return {
        "code": done.exit_code, "crash": crash, "says": stderr, "whole": whole,
        "left": sorted(os.listdir(disk)), "golden": (disk / "out/golden.npz").stat().st_size,
    }  # fmt: skip


def run_all(disk, run, artefact, options):
    mount(disk, "size=64m")
    subprocess.run(["cp", "-r", artefact, str(disk / "out")], check=True)
    used = os.statvfs(disk)
    used = (used.f_blocks - used.f_bfree) * used.f_frsize
    for room in ROOMS:
        # Two pages: what the check of the folder and the work folder themselves take.
        found = try_room(disk, run, options, int(used * (1 + room)) + 8192)
        print(json.dumps({"room": room, **found}), flush=True)


if __name__ == "__main__":
    run_all(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
