"""The emulated board's userland: a small Debian root and the boards' own wheels beside it.

Nothing is emulated while it is built. ``mmdebstrap`` unpacks Debian packages of the other
architecture; pip unpacks wheels made for it. One site folder a runtime, because tflite-runtime
needs numpy 1 and the others numpy 2.
"""

from __future__ import annotations

import compileall
import functools
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from targets.errors import InputError
from targets.files import atomic_path

#: What Raspberry Pi OS of that release is built from.
SUITE = "bookworm"
_PYTHON = "3.11"
_PACKAGES = (
    *("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "libgcc-s1", "zlib1g", "libffi8"),
    *("bash", "dash", "coreutils", "openssh-sftp-server", "libfaketime"),
)
#: A userland faces no network, so that its security suite is not asked for.
_NO_SECURITY_SUITE = '--setup-hook=sed -i /security/d "$1"/etc/apt/sources.list'


@dataclass(frozen=True)
class Userland:
    """What one architecture's boards hold.

    Attributes
    ----------
    arch : str
        Debian's name of the architecture.
    triplet : str
        GNU's name of it, as in library folders.
    qemu : str
        The user emulator.
    platforms : tuple of str
        Platform tags of its wheels, each spelled out: pip does not derive the older from the newer.
    sites : dict
        Site folder (the runtime's name in ``targets/boards``) -> pinned requirements.
    packages : tuple of str
        Debian packages beyond those that every architecture gets.
    """

    arch: str
    triplet: str
    qemu: str
    platforms: tuple[str, ...]
    sites: dict[str, tuple[str, ...]]
    packages: tuple[str, ...] = ()


#: The one table of versions. Those of arm64 are the ones of constraints.txt.
USERLANDS = {
    "arm64": Userland(
        arch="arm64",
        triplet="aarch64-linux-gnu",
        qemu="qemu-aarch64",
        platforms=(
            *("manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_27_aarch64"),
            *("manylinux_2_28_aarch64", "manylinux_2_34_aarch64"),
        ),
        sites={
            "tflite-runtime": ("tflite-runtime==2.14.0", "numpy==1.26.4"),
            "onnxruntime": ("onnxruntime==1.31.1", "numpy==2.4.6"),
            "litert": ("ai-edge-litert==2.3.0", "numpy==2.4.6"),
        },
    ),
    "armhf": Userland(
        arch="armhf",
        triplet="arm-linux-gnueabihf",
        qemu="qemu-arm",
        platforms=("manylinux_2_34_armv7l", "manylinux2014_armv7l"),
        # No other runtime has wheels for armv7l; numpy has none either and is Debian's.
        sites={"tflite-runtime": ("tflite-runtime==2.14.0",)},
        packages=("python3-numpy",),
    ),
}

_UNWANTED_FILES = (
    *("dev/*", "var/*", "boot", "usr/sbin/*", "lib/systemd/*", "lib/*/security/*"),
    *(f"usr/share/{name}/*" for name in ("doc", "man", "locale", "info", "perl*")),
    *("usr/lib/*/gconv/*", "usr/lib/*/perl*", "usr/bin/perl*", "usr/bin/ssh*"),
    *("usr/share/bash-completion/*", "usr/lib/openssh/ssh*"),
    # Debian holds numpy twice: there, and in python3/dist-packages.
    *("usr/lib/python3.11/dist-packages/*", "usr/lib/python3.11/pydoc_data/*"),
    *(f"usr/lib/python3.11/{name}/*" for name in ("test", "idlelib", "lib2to3", "tkinter")),
    *("usr/lib/python3/dist-packages/*/tests/*", "usr/lib/python3/dist-packages/numpy/f2py/*"),
)  # fmt: skip
#: Where the board's own things are put: folders, and a program that exists on a Pi only.
_MOUNT_POINTS = (
    *("dev", "proc", "sys", "tmp", "run", "home/pi", "opt", "lib64", "var/tmp"),
    *("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/faketime", "etc/qemu-binfmt"),
    f"usr/local/lib/python{_PYTHON}/dist-packages",
)
_ACCOUNTS = {
    "passwd": ("root:x:0:0:root:/root:/bin/bash", "pi:x:1000:1000:pi:/home/pi:/bin/bash"),
    "group": ("root:x:0:", "pi:x:1000:"),
}
_UNWANTED_IN_SITES = (
    *("bin", "numpy/**/tests", "numpy/f2py", "numpy/distutils"),
    "onnxruntime/capi/libonnxruntime.so.*",  # the Python module holds the same code once more
    *("onnxruntime/transformers", "onnxruntime/quantization", "onnxruntime/tools"),
    "ai_edge_litert/*WebGpu*",
)


def home() -> Path:
    """Folder of everything built: DLINK_REHEARSAL_DIR, or ``build/rehearsal`` of this checkout."""
    chosen = os.environ.get("DLINK_REHEARSAL_DIR")
    return Path(chosen) if chosen else Path(__file__).parents[2] / "build" / "rehearsal"


def root(arch: str) -> Path:
    """Root folder of an architecture's Debian; InputError where it is not built."""
    _require(arch)
    return home() / arch / "root"


def site(arch: str, name: str) -> Path:
    """Site folder of one runtime; InputError for an unknown one or where it is not built."""
    _require(arch)
    known = USERLANDS[arch].sites
    if name not in known:
        raise InputError(
            "the board's architecture has no such runtime", where=arch, value=name,
            limit=", ".join(known),
        )  # fmt: skip
    return home() / arch / "sites" / name


def is_built(arch: str) -> bool:
    """Whether the userland stands, at the versions of :data:`USERLANDS`."""
    stamp = home() / arch / "stamp"
    return stamp.is_file() and stamp.read_text(encoding="ascii") == _recipe(arch)


def build(arch: str, say: Callable[[str], None] = print) -> None:
    """Build one architecture's root and sites, whole or not at all, where it does not stand yet.

    Raises
    ------
    InputError
        A tool is missing, or mmdebstrap or pip failed: with its last words.
    """
    if is_built(arch):
        say(f"{arch}: in place ({home() / arch})")
        return
    userland, began = _userland(arch), time.monotonic()
    with atomic_path(home() / arch) as folder:
        folder.mkdir(parents=True)
        _build_root(userland, folder / "root")
        for name, wheels in userland.sites.items():
            _build_site(userland, folder / "sites" / name, wheels)
        _compile(folder / "root", "usr/lib")
        _compile(folder, "sites")
        (folder / "stamp").write_text(_recipe(arch), encoding="ascii")
        sizes = {p.name: tree_bytes(p) for p in (folder / "root", *(folder / "sites").iterdir())}
    listed = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in sizes.items())
    say(f"{arch}: built in {time.monotonic() - began:.0f} s: {listed}")


def tree_bytes(folder: Path) -> int:
    """Bytes of the files below a folder; links count nothing."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return sum(path.stat().st_size for path in files)


def _userland(arch: str) -> Userland:
    if arch not in USERLANDS:
        raise InputError("unknown architecture", value=arch, limit=", ".join(USERLANDS))
    return USERLANDS[arch]


def _require(arch: str) -> None:
    _userland(arch)
    if not is_built(arch):
        raise InputError(
            "rehearsal board is not built", where=home() / arch, todo="Run `make rehearsal`."
        )


@functools.cache
def _recipe(arch: str) -> str:
    """Digest of what decides how the userland looks; the number stands for the way of building."""
    decides = (
        2,
        SUITE,
        _PACKAGES,
        USERLANDS[arch],
        _MOUNT_POINTS,
        _UNWANTED_FILES,
        _UNWANTED_IN_SITES,
    )
    return hashlib.sha256(repr(decides).encode()).hexdigest()


def _build_root(userland: Userland, target: Path) -> None:
    include = ",".join(_PACKAGES + userland.packages)
    # As a plain user the packages are unpacked without a change of root.
    mode = "root" if os.geteuid() == 0 else "chrootless"
    command = [
        *("mmdebstrap", f"--mode={mode}", "--variant=extract", "--format=tar"),
        *(f"--architectures={userland.arch}", f"--include={include}", _NO_SECURITY_SUITE),
        *(SUITE, "-"),
    ]
    archive = target.with_suffix(".tar")
    with archive.open("wb") as stream:
        _run(command, stdout=stream)
    with tarfile.open(archive) as tar:
        tar.extractall(target, members=filter(_wanted, tar))  # noqa: S202 - sees each member
    archive.unlink()
    _link(target / "usr/bin/python3", f"python{_PYTHON}")
    for name in _MOUNT_POINTS:
        (target / name).mkdir(parents=True, exist_ok=True)
    (target / "usr/bin/vcgencmd").touch()
    for name, lines in _ACCOUNTS.items():
        (target / "etc" / name).write_text("\n".join(lines) + "\n", encoding="ascii")
    libraries = target / "usr/lib" / userland.triplet
    for name in ("blas", "lapack"):  # what Debian's alternatives would link
        if (libraries / name).is_dir():
            _link(libraries / f"lib{name}.so.3", f"{name}/lib{name}.so.3")


def _compile(folder: Path, part: str) -> None:
    """Compile Python's sources here: the board's Python reads them, and emulated it takes long."""
    if sys.version_info[:2] != tuple(int(n) for n in _PYTHON.split(".")):
        return  # another version's are of no use
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(
        folder / part, quiet=2, stripdir=str(folder), prependdir="/", invalidation_mode=mode
    )


def _link(path: Path, to: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def _wanted(member: tarfile.TarInfo) -> bool:
    """Leave out devices and what no rehearsal reads; what stays belongs to who unpacks it."""
    name = member.name.removeprefix("./")
    if member.isdev() or any(fnmatch(name, pattern) for pattern in _UNWANTED_FILES):
        return False
    member.mode = (member.mode & 0o777) | 0o200
    member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
    return True


def _build_site(userland: Userland, target: Path, wheels: Iterable[str]) -> None:
    platforms = [word for tag in userland.platforms for word in ("--platform", tag)]
    _run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"),
            *("--no-deps", "--no-compile", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", _PYTHON, "--abi", "cp311", *platforms),
            *("--target", str(target), *wheels),
        ]
    )
    for pattern in _UNWANTED_IN_SITES:
        for path in list(target.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _run(command: list[str], stdout: IO[bytes] | None = None) -> None:
    if shutil.which(command[0]) is None:
        raise InputError("program is not installed", where=command[0], todo="Run `make rehearsal`.")
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        last = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise InputError("building the rehearsal board failed", where=command[0], value=last)


def main() -> None:
    """Build every architecture: ``python -m firmware_bench.rehearsal.userland``."""
    from targets.errors import user_errors

    with user_errors("rehearsal"):
        for arch in USERLANDS:
            build(arch, lambda text: print(f"==> {text}", flush=True))


if __name__ == "__main__":
    main()
