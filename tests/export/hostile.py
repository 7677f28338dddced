"""Damage to real files, the same on every run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np


def mutants(whole: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Files with bytes overwritten, numbers replaced by extreme ones, parts cut, doubled, moved."""
    rng = np.random.default_rng(seed)
    extremes = (bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x01" + bytes(3), b"\0\0\1\0")
    for _ in range(count):
        broken = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            place = int(rng.integers(len(broken)))
            kind = rng.integers(5)
            if kind == 0:
                broken[place] = rng.integers(256)
            elif kind == 1:
                broken[place] ^= 1 << rng.integers(8)
            elif kind == 2:
                broken[place & ~3 : (place & ~3) + 4] = extremes[rng.integers(len(extremes))]
            elif kind == 3:
                end = place + int(rng.integers(1, 64))
                broken[place:end] = broken[:0] if rng.integers(2) else broken[place:end] * 2
            else:
                broken[place : place + 8] = broken[int(rng.integers(len(broken))) :][:8]
        if rng.integers(8) == 0:
            del broken[int(rng.integers(len(broken))) :]
        yield bytes(broken)


def proto_mutants(proto: Any, count: int, seed: int = 0) -> Iterator[bytes]:
    """Files that parse, with fields of random messages in them changed, doubled or left out."""
    rng = np.random.default_rng(seed)
    numbers = (0, 1, -1, 2, 7, 255, 1 << 31, -(1 << 31), (1 << 62))
    for _ in range(count):
        broken = type(proto)()
        broken.CopyFrom(proto)
        for _ in range(rng.integers(1, 4)):
            message = broken
            while True:
                fields = message.ListFields()
                field, value = fields[int(rng.integers(len(fields)))]
                repeated = hasattr(value, "append") or hasattr(value, "add")
                if field.type == field.TYPE_MESSAGE and rng.integers(12):
                    message = value[int(rng.integers(len(value)))] if repeated else value
                    if message.ListFields():
                        continue
                break
            _change(message, field, value, repeated, rng, numbers)
        yield broken.SerializeToString()


def _change(message: Any, field: Any, value: Any, repeated: bool, rng: Any, numbers: Any) -> None:
    if field.name not in [f.name for f, _ in message.ListFields()]:
        return
    if field.type == field.TYPE_MESSAGE or rng.integers(6) == 0:
        if repeated and len(value) and rng.integers(2):
            value.extend([value[int(rng.integers(len(value)))]])
        elif repeated and len(value):
            del value[int(rng.integers(len(value)))]
        else:
            message.ClearField(field.name)
        return
    with contextlib.suppress(ValueError, TypeError):  # a number that the field cannot hold
        new: Any = numbers[rng.integers(len(numbers))]
        if isinstance(value[0] if repeated else value, (str, bytes)):
            old = value[0] if repeated else value
            new = (old[:-1], old * 50, type(old)())[rng.integers(3)]
        if repeated:
            value[int(rng.integers(len(value)))] = new
        else:
            setattr(message, field.name, new)
