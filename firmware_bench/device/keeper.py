"""One process on the board for one session: makes the work folder, holds it, leaves nothing.

It is sent as an argument of ``python3 -c``, so that a board needs nothing of dlink, and reads on
old versions of Python far enough to say that they are too old. Requests come as JSON lines on
stdin, answers go to stdout, each line behind a mark, so that what a login shell prints is not taken
for one. When stdin ends, or is silent for `SILENCE_S`, nobody waits any more: runs are killed and
the folder is removed. What a killed keeper left behind, the next one removes: its lock is free.
"""

import contextlib
import fcntl
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Optional

MARK = "dlink:"
LEAST = (3, 9)
SILENCE_S = 60.0
PREFIX = "work-"
_writing = threading.Lock()


def tell(**answer: Any) -> None:
    """Write an answer; nobody to read it is no error here: the end of stdin tells that."""
    with _writing:
        try:
            sys.stdout.write(MARK + json.dumps(answer) + "\n")
            sys.stdout.flush()
        except (OSError, ValueError):
            pass


def cache() -> str:
    """Folder below which work folders are made: the user's cache, by the XDG rule."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = os.path.join(base, "dlink-bench")
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def lock(folder: str) -> Optional[int]:
    """Open and lock the folder; None if somebody else holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def sweep(base: str) -> tuple:
    """Remove what killed keepers left; return how many that were, and how many are at work."""
    removed = others = 0
    for name in os.listdir(base):
        path = os.path.join(base, name)
        if not name.startswith(PREFIX) or os.path.islink(path) or not os.path.isdir(path):
            continue
        handle = lock(path)
        if handle is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(handle)
            removed += 1
        else:
            others += 1
    return removed, others


def packages() -> dict:
    """Versions of the runtimes and NumPy that this interpreter has."""
    import importlib.metadata
    import importlib.util

    modules = {
        "onnxruntime": "onnxruntime",
        "ai-edge-litert": "ai_edge_litert",
        "tflite-runtime": "tflite_runtime",
        "numpy": "numpy",
    }
    found = {}
    for package, module in modules.items():
        try:
            if importlib.util.find_spec(module) is not None:
                found[package] = importlib.metadata.version(package)
        except (ImportError, ValueError):
            continue
    return found


class Keeper:
    """The session: its folder, and the one run that goes on at a time."""

    def __init__(self) -> None:
        base = cache()
        guard = os.open(base, os.O_RDONLY)
        # Another that starts now might sweep a folder that is not locked yet.
        fcntl.flock(guard, fcntl.LOCK_EX)
        self.swept, self.others = sweep(base)
        self.folder = tempfile.mkdtemp(prefix=PREFIX, dir=base)
        self.lock = lock(self.folder)
        os.close(guard)
        self.heard = time.monotonic()
        self.process = None  # type: Any
        self.over = threading.Lock()

    def hello(self) -> None:
        """Say what the board is."""
        tell(
            kind="hello",
            folder=self.folder,
            python=platform.python_version(),
            executable=sys.executable,
            machine=platform.machine(),
            pointer_bits=8 * struct.calcsize("P"),
            libc=" ".join(platform.libc_ver()),
            packages=packages(),
            free_bytes=self.free(),
            unix=time.time(),
            swept=self.swept,
            others=self.others,
        )

    def free(self) -> int:
        """Bytes that an ordinary user may still write there."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def run(self, arguments: list) -> None:
        """Start the runner; its lines are passed on, and its end is told."""
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            encoding="utf-8",
            start_new_session=True,
        )
        threading.Thread(target=self.follow, args=(self.process,), daemon=True).start()

    def follow(self, process: Any) -> None:
        """Pass the lines of a run on."""
        errors = []  # type: list
        reader = threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True)
        reader.start()
        for line in process.stdout:
            tell(kind="line", text=line.rstrip("\n"))
        code = process.wait()
        reader.join(5)
        tell(kind="end", code=code, errors="".join(errors[-20:]))

    def finish(self) -> None:
        """Kill what runs and remove the folder."""
        with self.over:
            if self.process is not None and self.process.poll() is None:
                with contextlib.suppress(OSError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)

    def watch(self) -> None:
        """End all when the host has been silent for too long: a dead line tells nothing else."""
        while time.monotonic() - self.heard < SILENCE_S:
            time.sleep(1)
        self.finish()
        os._exit(1)


def serve() -> None:
    """Answer requests until stdin ends."""
    keeper = Keeper()
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    threading.Thread(target=keeper.watch, daemon=True).start()
    try:
        keeper.hello()
        for line in iter(sys.stdin.readline, ""):
            keeper.heard = time.monotonic()
            request = json.loads(line)
            if request["do"] == "run":
                keeper.run(request["arguments"])
            elif request["do"] == "free":
                tell(kind="free", bytes=keeper.free(), unix=time.time())
            elif request["do"] == "quit":
                break
    finally:
        keeper.finish()
    tell(kind="bye")


if __name__ == "__main__":
    if sys.version_info < LEAST:
        tell(kind="old", python=platform.python_version())
    else:
        serve()
