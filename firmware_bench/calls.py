"""Which layer each executed instruction served, of the very binary that is counted.

The counting plugin follows the calls of kernels from outside: by where the linker put the code of
callers and of kernels, and by whose parameters a kernel reads first. So nothing is added to the
library, and a pipeline may call the kernels of its layers in turn, strip by strip.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from firmware_bench.elf import read_elf
from firmware_bench.memory import parse_map
from firmware_bench.toolchain import Firmware
from targets.errors import InputError

#: Objects of a library whose code calls kernels; the others are kernels.
CALLERS = ("model.o", "dlink_pipeline.o", "dlink_stream.o")
#: A layer's parameters in model.c: "layer3", "layer3_sum", either with "_stream" behind.
_PARAMETERS = re.compile(r"layer(\d+)(?:_sum)?(?:_stream)?")


@dataclass(frozen=True)
class CallCount:
    """How often kernels were called, and what they and all that they called executed."""

    calls: int
    instructions: int


@dataclass(frozen=True)
class Watch:
    """What the plugin is told: lines of `text`, and the names of layers' constants by address."""

    text: str
    names: dict[int, str]
    where: str

    def read(self, text: str) -> list[dict[str, CallCount]]:
        """Take each region's calls from the plugin's file, by the name of the layer's constants.

        Raises
        ------
        InputError
            A kernel ran that read no layer's parameters.
        """
        regions: list[dict[str, CallCount]] = []
        found: dict[str, CallCount] = {}
        for line in text.splitlines():
            word, *fields = line.split()
            if word == "layer":
                found[self.names[int(fields[0], 16)]] = CallCount(int(fields[1]), int(fields[2]))
            elif word == "lost":
                raise InputError(
                    "a kernel read no layer's parameters, so its layer cannot be told",
                    where=self.where,
                    value=f"{fields[0]} calls, {fields[1]} instructions",
                    todo="Count without --layers, or generate the library again.",
                )
            elif word == "roi":
                regions.append(found)
                found = {}
        return regions


def watch_calls(firmware: Firmware) -> Watch:
    """Find callers, kernels and layers' parameters in a linked firmware.

    Raises
    ------
    InputError
        The library's model.c names no layer's constants as dlink does.
    """
    objects = {str(path): path.name for path in firmware.library_objects}
    lines = []
    for entry in parse_map(firmware.link_map.read_text()):
        if entry.object in objects and entry.section.split(".")[1] == "text":
            role = "caller" if objects[entry.object] in CALLERS else "kernel"
            lines.append(f"{role} {entry.address:x} {entry.address + entry.size:x}\n")
    symbols = read_elf(firmware.elf).symbols.values()
    layers = [one for one in symbols if _PARAMETERS.fullmatch(one.name) and one.size]
    names = {one.address: one.name for one in layers}
    if not names or len(names) != len(layers):
        raise InputError(
            "layers of this library cannot be told apart",
            where=firmware.header.name,
            value=f"{len(layers)} layers' parameters at {len(names)} addresses",
            todo="Generate the library with this version of dlink.",
        )
    lines += [f"layer {one.address:x} {one.address + one.size:x}\n" for one in layers]
    return Watch("".join(lines), names, firmware.header.name)


def layer_index(name: str) -> int:
    """Return the operator's number in the .tflite file from the name of its constants."""
    match = _PARAMETERS.fullmatch(name)
    assert match is not None, name
    return int(match[1])
