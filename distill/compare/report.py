"""One section of a Markdown file, between markers, written anew each time."""

from __future__ import annotations

import re
from pathlib import Path

from targets.errors import InputError
from targets.files import write_text


def replace_section(path: Path, name: str, text: str) -> None:
    """Put `text` between the markers of the section `name`; at the end if it is new.

    What stands outside of the markers is left as it is, byte for byte.

    Raises
    ------
    InputError
        A name with signs that a marker cannot hold, markers that do not pair, no text file.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError(
            "section name is not usable", where="--section", value=name,
            limit="letters, digits, '.', '_' and '-'",
        )  # fmt: skip
    first, last = f"<!-- compare:{name} -->", f"<!-- /compare:{name} -->"
    before = _read(path)
    section = f"{first}\n{text.strip()}\n{last}"
    places = before.count(first), before.count(last)
    if places == (0, 0):
        gap = "\n" if before.endswith("\n") or not before else "\n\n"
        write_text(path, f"{before}{gap if before else ''}{section}\n")
        return
    start, end = before.find(first), before.find(last)
    if places != (1, 1) or end < start:
        raise InputError(
            f"markers of section {name!r} do not pair", where=path,
            value=f"{places[0]} x {first}, {places[1]} x {last}",
            todo="Leave one of each, in this order, or none.",
        )  # fmt: skip
    write_text(path, before[:start] + section + before[end + len(last) :])


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", newline="") as handle:  # keep the file's line ends
            return handle.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"report cannot be read: {err}", where=path) from None
