"""A flatbuffer read with every offset checked: what lies outside the file is :class:`Damaged`.

Tables are looked at one field at a time and vectors stay views of the file, so that a damaged
length costs an error and neither time nor memory; nothing follows offsets by itself, so that
cycles do no harm. Fields are numbered as the schema declares them.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray


class Damaged(ValueError):
    """The bytes are not what their place in the file says."""


class Table:
    """A table at byte `position` of `data`."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position
        self._layout = position - _integer(data, position, "<i")
        self._layout_bytes = _integer(data, self._layout, "<H")
        self._bytes = _integer(data, self._layout + 2, "<H")
        _check(data, self._layout, self._layout_bytes)
        _check(data, position, self._bytes)

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The outermost table."""
        return cls(data, _integer(data, 0, "<I"))

    def _place(self, field: int, width: int) -> int | None:
        """Where the field lies; None if it is absent."""
        entry = 4 + 2 * field
        if entry + 2 > self._layout_bytes:
            return None
        offset = _integer(self.data, self._layout + entry, "<H")
        if offset == 0:
            return None
        if offset < 4 or offset + width > self._bytes:
            raise Damaged(f"field {field} lies outside its table at byte {self.position}")
        return self.position + offset

    def _target(self, field: int) -> int | None:
        """What the field, an offset, leads to."""
        place = self._place(field, 4)
        return None if place is None else place + _integer(self.data, place, "<I")

    def has(self, field: int) -> bool:
        """Whether the field is there."""
        return self._place(field, 1) is not None

    def real(self, field: int, default: float = 0.0) -> float:
        """A float32."""
        place = self._place(field, 4)
        return default if place is None else float(_scalar(self.data, place, "<f"))

    def integer(self, field: int, kind: str, default: int = 0) -> int:
        """A whole number; `kind` is its letter in :mod:`struct`."""
        place = self._place(field, struct.calcsize("<" + kind))
        return default if place is None else _integer(self.data, place, "<" + kind)

    def vector(self, field: int, dtype: str) -> NDArray[np.generic]:
        """A vector of scalars, a view of the file; empty if it is absent."""
        place = self._target(field)
        if place is None:
            return np.zeros(0, dtype)
        count = _integer(self.data, place, "<I")
        _check(self.data, place + 4, count * np.dtype(dtype).itemsize)
        return np.frombuffer(self.data, dtype, count, place + 4)

    def text(self, field: int) -> str:
        """A string; what is not ASCII becomes a mark."""
        return self.vector(field, "u1").tobytes().decode("ascii", "replace")

    def table(self, field: int) -> Table | None:
        """A table, or a union's; None if it is absent."""
        place = self._target(field)
        return None if place is None else Table(self.data, place)

    def tables(self, field: int) -> Tables:
        """A vector of tables; empty if it is absent."""
        place = self._target(field)
        if place is None:
            return Tables(self.data, 0, 0)
        count = _integer(self.data, place, "<I")
        _check(self.data, place + 4, 4 * count)
        return Tables(self.data, place + 4, count)


class Tables:
    """A vector of tables, each read when it is asked for."""

    def __init__(self, data: bytes, start: int, count: int) -> None:
        self.data, self.start, self.count = data, start, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Table:
        if not 0 <= index < self.count:
            raise Damaged(f"index {index} is outside 0..{self.count - 1}")
        place = self.start + 4 * index
        return Table(self.data, place + _integer(self.data, place, "<I"))


def _check(data: bytes, position: int, count: int) -> None:
    if position < 0 or position + count > len(data):
        raise Damaged(f"{count} bytes at {position} are outside the file's {len(data)}")


def _scalar(data: bytes, position: int, kind: str) -> float:
    _check(data, position, struct.calcsize(kind))
    value: float = struct.unpack_from(kind, data, position)[0]
    return value


def _integer(data: bytes, position: int, kind: str) -> int:
    return int(_scalar(data, position, kind))
