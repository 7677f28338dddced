"""The bytes of a protobuf message, walked before any parser allocates for them.

An empty submessage takes two bytes in a file and some hundred in memory, so that a small file can
fill a large machine. The walk counts what a parser would make, at no cost in memory; it checks that
every length lies inside the message around it and every text is UTF-8, which the parser does not
(Protocol Buffers, "Encoding").
"""

from __future__ import annotations

from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SKIP = {FIXED64: 8, FIXED32: 4}
_TEXT, _MESSAGE = 9, 11  # FieldDescriptor.TYPE_STRING, TYPE_MESSAGE
_MOST_DEPTH = 64  # protobuf's own limit is 100


class Malformed(ValueError):
    """The bytes are no message of this kind, or one beyond the limit; the text says which."""


def walk(data: bytes, descriptor: Any, most_fields: int) -> int:
    """Count the fields of a message and of all that it holds.

    Parameters
    ----------
    descriptor : of the message's class: ``onnx.ModelProto.DESCRIPTOR``.
    most_fields : how many there may be.

    Raises
    ------
    Malformed
        A length beyond its message, an unknown wire type, a text that is not UTF-8, too many fields
        or levels.
    """
    kinds: dict[str, dict[int, Any]] = {}
    stack, count = [(descriptor, 0, len(data), 0)], 0
    while stack:
        kind, place, end, depth = stack.pop()
        if depth > _MOST_DEPTH:
            raise Malformed(f"messages nested deeper than {_MOST_DEPTH}")
        if kind.full_name not in kinds:
            kinds[kind.full_name] = {
                field.number: field.message_type  # None for a text
                for field in kind.fields
                if field.type in (_TEXT, _MESSAGE)
            }
        inner = kinds[kind.full_name]
        while place < end:
            count += 1
            if count > most_fields:
                raise Malformed(f"more than {most_fields} fields")
            tag, place = _varint(data, place, end)
            wire, number = tag & 7, tag >> 3
            if number == 0:
                raise Malformed(f"field number 0 at byte {place}")
            if wire == VARINT:
                _, place = _varint(data, place, end)
            elif wire == BYTES:
                size, place = _varint(data, place, end)
                if size > end - place:
                    raise Malformed(f"{size} bytes at byte {place} of {end}")
                if number in inner and inner[number] is None:
                    _check_text(data[place : place + size], place)
                elif number in inner:
                    stack.append((inner[number], place, place + size, depth + 1))
                place += size
            elif wire in _SKIP:
                place += _SKIP[wire]
            else:
                raise Malformed(f"wire type {wire} at byte {place}")
        if place != end:
            raise Malformed(f"a field runs over the end of its message at byte {end}")
    return count


def _check_text(text: bytes, place: int) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise Malformed(f"text that is not UTF-8 at byte {place}") from None


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, at most ten bytes; and where the next thing stands."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise Malformed(f"a number runs over the end of its message at byte {end}")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise Malformed(f"a number of more than ten bytes at byte {place}")
