"""The checked flatbuffer reader: what it reads, and that nothing outside the file is read."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from models import chain_model, conv_model

from export.c.flat import Damaged, Table


def table(*fields: bytes, layout: list[int] | None = None, length: int | None = None) -> bytes:
    """A file with one table; `fields` are laid out in order, each at its offset."""
    offsets, at = [], 4
    for value in fields:
        offsets.append(at)
        at += len(value)
    offsets = offsets if layout is None else layout
    vtable = struct.pack(f"<HH{len(offsets)}H", 4 + 2 * len(offsets), length or at, *offsets)
    start = 4 + len(vtable)
    return struct.pack("<I", start) + vtable + struct.pack("<i", len(vtable)) + b"".join(fields)


def test_scalars_and_defaults():
    root = Table.root(table(struct.pack("<i", -5), struct.pack("<f", 0.5), b"\x01"))
    assert root.integer(0, "i") == -5
    assert root.real(1) == 0.5
    assert root.integer(2, "?") == 1
    assert root.integer(3, "i", 7) == 7  # behind the layout
    assert (root.has(2), root.has(3)) == (True, False)
    absent = Table.root(table(b"\x01\x02\x03\x04", layout=[0]))
    assert (absent.integer(0, "i", 9), absent.real(0, 0.25), absent.table(0)) == (9, 0.25, None)
    assert (len(absent.tables(0)), absent.vector(0, "<i4").size, absent.text(0)) == (0, 0, "")


def test_vectors_are_views_of_the_file():
    data = table(struct.pack("<I", 4), struct.pack("<I2i", 2, 10, -1))
    vector = Table.root(data).vector(0, "<i4")
    assert vector.tolist() == [10, -1]
    assert not vector.flags.owndata
    text = table(struct.pack("<I", 4), struct.pack("<I", 3) + b"a\xffc")
    assert Table.root(text).text(0) == "a\ufffdc"


@pytest.mark.parametrize("make", [conv_model, chain_model])
def test_reads_what_the_schema_classes_read(make):
    model = make()
    graph, expected = Table.root(model).tables(2)[0], schema.Model.GetRootAs(model, 0).Subgraphs(0)
    tensors = graph.tables(0)
    assert len(tensors) == expected.TensorsLength()
    for i in range(len(tensors)):
        known = expected.Tensors(i)
        np.testing.assert_array_equal(tensors[i].vector(0, "<i4"), known.ShapeAsNumpy())
        assert tensors[i].integer(1, "b") == known.Type()
        assert tensors[i].integer(2, "I") == known.Buffer()
        scales = tensors[i].table(4).vector(2, "<f4")
        np.testing.assert_array_equal(scales, known.Quantization().ScaleAsNumpy())
    operators = graph.tables(3)
    for i in range(len(operators)):
        np.testing.assert_array_equal(
            operators[i].vector(1, "<i4"), expected.Operators(i).InputsAsNumpy()
        )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x04\x00\x00",
        struct.pack("<I", 2**32 - 1),
        struct.pack("<Ii", 4, 100),  # the layout lies before the file
        struct.pack("<Ii", 4, -100),  # and behind it
        table(b"\x00" * 4, length=200),
        struct.pack("<IHHi", 8, 400, 4, 4),
    ],
)
def test_tables_outside_the_file(data):
    with pytest.raises(Damaged, match="are outside the file's"):
        Table.root(data)


def test_fields_outside_their_table():
    root = Table.root(table(b"\x00" * 4, layout=[6, 2, 2000]))
    for field in (0, 1, 2):
        with pytest.raises(Damaged, match=f"field {field} lies outside its table"):
            root.integer(field, "i")


@pytest.mark.parametrize("count", [2, 2**31, 2**32 - 1])
def test_vectors_outside_the_file(count):
    data = table(struct.pack("<I", 4), struct.pack("<Ii", count, 0))
    root = Table.root(data)
    for read in (lambda: root.vector(0, "<i4"), lambda: root.tables(0)):
        with pytest.raises(Damaged, match="outside the file"):
            read()


def test_index_outside_a_vector():
    operators = Table.root(conv_model()).tables(2)[0].tables(3)
    for index in (-1, 1, 2**31):
        with pytest.raises(Damaged, match=r"outside 0\.\.0"):
            operators[index]


def test_a_cycle_is_read_once_at_a_time():
    """A table whose only field leads back to the table itself."""
    data = bytearray(table(struct.pack("<I", 0)))
    start = struct.unpack_from("<I", data)[0]
    struct.pack_into("<I", data, start + 4, 2**32 - 4)
    with pytest.raises(Damaged):  # offsets count forwards only
        Table.root(bytes(data)).table(0)
