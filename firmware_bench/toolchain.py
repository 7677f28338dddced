"""Build the bench firmware around a generated C library, and the plugin that counts for it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_bench.cores import Core
from targets.errors import InputError
from targets.files import sha256

FIRMWARE_SOURCES = Path(__file__).parent / "firmware"
BENCH_SOURCES = ("startup.c", "console.c", "semihosting.c", "bench.c")

_DEBIAN_PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "arm-none-eabi-objcopy": "binutils-arm-none-eabi",
    "arm-none-eabi-objdump": "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "gcc": "gcc",
}
# -O2 is what TensorFlow Lite Micro's published figures use. Not -ffreestanding: it would turn each
# small fixed memcpy into a call. -fno-common gives every variable one place in the link map.
_COMPILE_FLAGS = (
    *("-mthumb", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"),
    *("-fno-common", "-ffunction-sections", "-fdata-sections"),
)
_HEADER_NUMBERS = ("ARENA_BYTES", "ARENA_ALIGN", "INPUT_BYTES", "OUTPUT_BYTES")


@dataclass(frozen=True)
class ModelHeader:
    """What the library's ``model.h`` says of itself; sizes in bytes."""

    name: str
    hash: str
    arena_bytes: int
    arena_align: int
    input_bytes: int
    output_bytes: int


@dataclass(frozen=True)
class Firmware:
    """A linked firmware. `elf_sha256` was taken as the linker finished."""

    core: Core
    header: ModelHeader
    elf: Path
    elf_sha256: str
    link_map: Path
    library_objects: tuple[Path, ...]
    compiler: str


def require_tool(name: str) -> str:
    """Return the path of a program; a missing one is an InputError naming its Debian package."""
    path = shutil.which(name)
    if path is None:
        raise InputError(
            "program is not installed",
            where=name,
            todo=f"Run `make setup`, or install the Debian package {_DEBIAN_PACKAGES[name]}.",
        )
    return path


def first_line(program: str) -> str:
    """Return the first line of ``program --version``."""
    answer = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    return answer.stdout.partition("\n")[0]


def require_compiler() -> str:
    """Return the path of the cross compiler, checked to have a C library beside it."""
    compiler = require_tool("arm-none-eabi-gcc")
    answer = subprocess.run(
        [compiler, "-print-file-name=libc.a"], check=True, capture_output=True, text=True
    )
    if not Path(answer.stdout.strip()).is_absolute():  # not found: it answers the bare name
        raise InputError(
            "the cross compiler has no C library",
            where=compiler,
            todo="Run `make setup`, or install the Debian package libnewlib-arm-none-eabi.",
        )
    return compiler


def library_sources(c_dir: Path) -> list[Path]:
    """List the library's C files: every ``*.c`` of the folder but main.c and example*.c."""
    if not (c_dir / "model.h").is_file():
        raise InputError(
            "C library not found",
            where=c_dir / "model.h",
            todo="Give the folder c/ of an exported artefact.",
        )
    sources = sorted(
        path
        for path in c_dir.glob("*.c")
        if path.name != "main.c" and not path.name.startswith("example")
    )
    if not sources:
        raise InputError("C library has no *.c file", where=c_dir)
    return sources


def read_header(c_dir: Path, core: Core) -> ModelHeader:
    """Let the preprocessor evaluate the constants of ``model.h``."""
    names = ("NAME", "HASH", *_HEADER_NUMBERS)
    question = '#include "model.h"\n' + "".join(f"@{name} DLINK_MODEL_{name}\n" for name in names)
    library_sources(c_dir)
    answer = subprocess.run(
        [require_compiler(), *core.flags, "-mthumb", "-E", "-P", f"-I{c_dir.absolute()}", "-"],
        input=question,
        check=False,
        capture_output=True,
        text=True,
    )
    if answer.returncode != 0:
        raise InputError(_first_error(answer.stderr), where=c_dir / "model.h")
    values = dict(re.findall(r"^@(\w+) (.*)$", answer.stdout, re.MULTILINE))
    where = c_dir / "model.h"
    numbers = [_number(values[name], f"DLINK_MODEL_{name}", where) for name in _HEADER_NUMBERS]
    return ModelHeader(
        _string(values["NAME"], "DLINK_MODEL_NAME", where),
        _string(values["HASH"], "DLINK_MODEL_HASH", where),
        *numbers,
    )


def _number(text: str, macro: str, where: Path) -> int:
    match = re.fullmatch(r"\(*(\d+|0[xX][0-9a-fA-F]+)[uUlL]*\)*", text)
    if match is None:
        raise InputError(f"{macro} is not a plain integer constant", where=where, value=text)
    return int(match[1], 0)


def _string(text: str, macro: str, where: Path) -> str:
    match = re.fullmatch(r'"([\w.+-]+)"', text)
    if match is None:
        raise InputError(f"{macro} is not a string without spaces", where=where, value=text)
    return match[1]


def build_firmware(
    c_dir: Path,
    core: Core,
    folder: Path,
    *,
    sources: Sequence[str] = BENCH_SOURCES,
    defines: Sequence[str] = (),
) -> Firmware:
    """Compile library and bench for `core` and link them in `folder`.

    Parameters
    ----------
    sources : sequence of str
        Files of the bench, in :data:`FIRMWARE_SOURCES`.
    defines : sequence of str
        ``-D`` flags for those files; the library never sees them.

    Raises
    ------
    InputError
        A program is missing, or the library does not compile, link or fit the machine.
    """
    header = read_header(c_dir, core)
    library = [_compile(path, c_dir, core, folder, "lib") for path in library_sources(c_dir)]
    bench = [
        _compile(FIRMWARE_SOURCES / name, c_dir, core, folder, "bench", defines) for name in sources
    ]
    elf, link_map = folder / "firmware.elf", folder / "firmware.map"
    memory = {
        "BENCH_CODE_ORIGIN": core.code_origin,
        "BENCH_CODE_LENGTH": core.code_bytes,
        "BENCH_RAM_ORIGIN": core.ram_origin,
        "BENCH_RAM_LENGTH": core.ram_bytes,
    }
    compiler = require_compiler()
    _must_succeed(
        [
            *(compiler, *core.flags, "-mthumb", "-nostartfiles"),
            *(f"-Wl,--defsym={name}={value:#x}" for name, value in memory.items()),
            *("-Wl,--gc-sections", "-Wl,--fatal-warnings", f"-Wl,-Map={link_map}"),
            *("-T", str(FIRMWARE_SOURCES / "bench.ld"), "-o", str(elf)),
            *map(str, bench + library),
        ],
        f"C library does not link for {core.name}",
        c_dir,
    )
    flags = " ".join((*core.flags, *_COMPILE_FLAGS))
    return Firmware(
        core, header, elf, sha256(elf), link_map, tuple(library), f"{first_line(compiler)} {flags}"
    )


def _compile(
    source: Path, c_dir: Path, core: Core, folder: Path, group: str, defines: Sequence[str] = ()
) -> Path:
    """Compile from the source's own folder, so that no path of this machine enters the object."""
    target = folder.absolute() / group / f"{source.stem}.o"
    target.parent.mkdir(exist_ok=True)
    _must_succeed(
        [
            *(require_compiler(), *core.flags, *_COMPILE_FLAGS, *defines, f"-I{c_dir.absolute()}"),
            *("-c", source.name, "-o", str(target)),
        ],
        f"C library does not compile for {core.name}",
        source,
        cwd=source.parent,
    )
    return target


def build_plugin(folder: Path) -> Path:
    """Compile the counting plugin with the host's compiler."""
    plugin = folder / "insn_count.so"
    source = FIRMWARE_SOURCES / "insn_count.c"
    _must_succeed(
        [
            *(require_tool("gcc"), "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"),
            *("-shared", "-fPIC", str(source), "-o", str(plugin)),
        ],
        "the counting plugin does not compile on this host",
        source,
    )
    return plugin


def _must_succeed(command: Sequence[str], what: str, where: Path, cwd: Path | None = None) -> None:
    answer = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd)
    if answer.returncode != 0:
        raise InputError(f"{what}: {_first_error(answer.stderr)}", where=where)


def _first_error(text: str) -> str:
    """Pick the line of a compiler's or linker's answer that says what is wrong."""
    lines = [line for line in text.splitlines() if line.strip()]
    telling = (line for line in lines if re.search(r"error:|undefined|overflowed|warning:", line))
    return next(telling, lines[-1] if lines else "it gave no reason").strip().rstrip(".")
