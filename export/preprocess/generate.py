"""The causal chain as C: tables and thin functions around ``export/preprocess/runtime``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.ir import Quant
from export.preprocess import fixed
from export.preprocess.definition import Biquads, Fir, Preprocessor
from export.preprocess.svf import Svf
from targets.errors import InputError
from targets.files import atomic_path

RUNTIME = Path(__file__).parent / "runtime"
MOST_FIRS = 4
_REFERENCE = {None: "DLINK_PREPROCESS_AS_RECORDED", -1: "DLINK_PREPROCESS_AVERAGE"}


@dataclass(frozen=True)
class GeneratedChain:
    """What was written. Bytes: of one state (RAM), and of the tables of one form (flash)."""

    files: tuple[str, ...]
    float_state_bytes: int
    float_table_bytes: int
    counts_state_bytes: int | None
    counts_table_bytes: int | None


def generate(
    preprocessor: Preprocessor, folder: Path, *, quant: Quant | None = None, planar: bool = False
) -> GeneratedChain:
    """Write ``preprocess_model.h``, ``preprocess_model.c`` and the runtime into `folder`.

    The float form is always there; the integer form where the device's unit is counts.

    Parameters
    ----------
    quant : the model's int8 input; without it no bytes are written.
    planar : whether the model's input is (n_chans, n_times) rather than (n_times, n_chans).

    Raises
    ------
    InputError
        Too many stages, a coefficient that Q30 cannot hold, 16-bit input.
    """
    if quant is not None and quant.bits != 8:
        raise InputError("model's input is not int8", where="input", value=f"int{quant.bits}")
    firs = [stage for stage in preprocessor.stages if isinstance(stage, Fir)]
    if len(firs) > MOST_FIRS:
        raise InputError("too many FIR stages", where="stages", value=len(firs), limit=MOST_FIRS)
    counts = preprocessor.input_unit == "counts"
    sizes = _values(preprocessor, firs)
    texts = {
        "preprocess_model.h": _header(preprocessor, sizes, counts, quant, planar),
        "preprocess_model.c": _source(preprocessor, firs, counts, quant),
    }
    with atomic_path(folder) as part:
        part.mkdir()
        for name, text in texts.items():
            (part / name).write_text(text, encoding="ascii")
        for path in RUNTIME.iterdir():
            if path.suffix in (".c", ".h") and (counts or not path.stem.endswith("_i32")):
                shutil.copyfile(path, part / path.name)
        names = tuple(sorted(path.name for path in part.iterdir()))
    n_sections, n_taps = _n_sections(preprocessor), sum(s.phases().size for s in firs)
    head = 4 * (3 + MOST_FIRS)
    return GeneratedChain(
        names, 4 * sizes[0] + head, 4 * (7 * n_sections + n_taps),
        4 * sizes[1] + head if counts else None, 4 * (5 * n_sections + n_taps) if counts else None,
    )  # fmt: skip


def _n_sections(preprocessor: Preprocessor) -> int:
    return sum(len(s.sos) for s in preprocessor.stages if isinstance(s, Biquads))


def _values(preprocessor: Preprocessor, firs: list[Fir]) -> tuple[int, int]:
    """Entries of the two states' arrays (dlink_preprocess_f32.c, dlink_preprocess_i32.c)."""
    n, sections = preprocessor.n_chans, _n_sections(preprocessor)
    rings = n * sum(stage.history + 1 for stage in firs)
    return n * (2 + 2 * sections) + rings, n * (2 + 2 + 4 * sections) + rings


_FUNCTIONS = """
typedef struct {{
    dlink_preprocess_head_t head;
    {type} values[DLINK_PREPROCESS_{NAME}_VALUES];
}} dlink_preprocess_{name}_state_t;

/* {what} */
dlink_preprocess_status_t dlink_preprocess_{name}_start(dlink_preprocess_{name}_state_t *state);
dlink_preprocess_status_t dlink_preprocess_{name}_push(dlink_preprocess_{name}_state_t *state,
                                                       const {type} *samples, int32_t count,
                                                       {type} *output, int32_t room,
                                                       int32_t *made);
"""
_FLOAT_WHAT = "Samples in {unit} (count, N_IN); output: the model's input (made, N_CHANS)."
_COUNTS_WHAT = "Counts (count, N_IN); output: signals (made, N_CHANS) for the conversions."


def _header(
    preprocessor: Preprocessor, sizes: tuple[int, int], counts: bool, quant: Quant | None,
    planar: bool,
) -> str:  # fmt: skip
    p = preprocessor
    numbers = {
        "N_IN": p.n_in_chans, "N_CHANS": p.n_chans, "N_TIMES": p.signal.n_times,
        "UP": p.up, "DOWN": p.down, "PLANAR": int(planar), "FLOAT_VALUES": sizes[0],
    }  # fmt: skip
    if counts:
        numbers |= {"COUNTS_VALUES": sizes[1], "FRACTION_BITS": fixed.fraction_bits(p)}
    lines = [
        "/* Made by dlink; the definition is preprocessing.json, hash",
        f" * {p.hash}. {p.kind}: {p.input_sfreq:g} Hz {p.input_unit} in, {p.signal.sfreq:g} Hz",
        f" * out. Channels in: {_comment(', '.join(p.input_ch_names))}",
        f" * Channels out: {_comment(', '.join(p.signal.ch_names))} */",
        "#ifndef DLINK_PREPROCESS_MODEL_H", "#define DLINK_PREPROCESS_MODEL_H", "",
        '#include "dlink_preprocess.h"', "",
        *(f"#define DLINK_PREPROCESS_{name} {value}" for name, value in numbers.items()),
        "/* Output samples that so many input samples can make due. */",
        "#define DLINK_PREPROCESS_ROOM(count) \\",
        "    (((count) * DLINK_PREPROCESS_UP + DLINK_PREPROCESS_DOWN - 1) / DLINK_PREPROCESS_DOWN)",
    ]  # fmt: skip
    text = "\n".join(lines) + "\n"
    what = _FLOAT_WHAT.format(unit=p.input_unit)
    text += _FUNCTIONS.format(type="float", name="float", NAME="FLOAT", what=what)
    if counts:
        text += _FUNCTIONS.format(type="int32_t", name="counts", NAME="COUNTS", what=_COUNTS_WHAT)
        text += "/* Such signals to the model's input, `n` values. */\n"
        text += _signature("counts_to_float", "int32_t", "float *output") + ";\n"
    if quant is not None:
        text += "\n/* `n` values to the model's int8 input. */\n"
        text += _signature("float_to_int8", "float", "int8_t *bytes") + ";\n"
        if counts:
            text += _signature("counts_to_int8", "int32_t", "int8_t *bytes") + ";\n"
    return text + "\n#endif\n"


def _comment(text: str) -> str:
    """Channel names are the user's: nothing of them may end a comment."""
    return re.sub(r"[^A-Za-z0-9 ,.+()-]", "_", text)


def _signature(name: str, source: str, target: str) -> str:
    return f"void dlink_preprocess_{name}(const {source} *values, {target}, int32_t n)"


def _table(kind: str, name: str, rows: Iterable[str], per_line: int) -> str:
    items = list(rows)
    lines = [
        "    " + ", ".join(items[k : k + per_line]) + ","
        for k in range(0, len(items), per_line)
    ]  # fmt: skip
    return f"static const {kind} {name}[{len(items)}] = {{\n" + "\n".join(lines) + "\n};\n"


def _float(value: float) -> str:
    """A float32 constant that every compiler reads back to the last bit."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if any(c in text for c in ".e") else f"{text}.0f"


def _int(value: int) -> str:
    """-2147483648 is no int constant in C: it is the negation of one that does not fit."""
    return "INT32_MIN" if value == -(2**31) else str(value)


def _chain(p: Preprocessor, n_firs: int) -> str:
    reference = _REFERENCE.get(p.reference, str(p.reference))
    return (
        f"{{0x{p.hash[:8]}u, picks, {p.n_in_chans}, {p.n_chans}, {reference}, "
        f"{int(p.remove_first)}, {_n_sections(p)}, {n_firs}, {p.up}, {p.down}}}"
    )


def _source(p: Preprocessor, firs: list[Fir], counts: bool, quant: Quant | None) -> str:
    parts = [
        '#include "preprocess_model.h"\n',
        _table("uint16_t", "picks", map(str, p.picks), 16),
        *_float_form(p, firs),
    ]
    if quant is not None:
        scale = _float(1 / float(quant.scale[0]))
        parts.append(
            _signature("float_to_int8", "float", "int8_t *bytes")
            + f"\n{{\n    dlink_preprocess_f32_to_i8({scale}, {quant.zero_point}, values, bytes,"
            " n);\n}\n"
        )
    if counts:
        parts += _counts_form(p, firs, quant)
    return "\n".join(parts)


def _firs(kind: str, prefix: str, firs: list[Fir], tables: list[list[str]]) -> Iterable[str]:
    """Tables of taps, and the table of stages over them."""
    value = "float" if kind == "f32" else "int32_t"
    for k, items in enumerate(tables):
        yield _table(value, f"{prefix}_taps{k}", items, 6)
    if firs:
        rows = [
            f"{{{prefix}_taps{k}, {s.history + 1}, {s.up}}}" for k, s in enumerate(firs)
        ]  # fmt: skip
        yield _table(f"dlink_fir_{kind}_t", f"{prefix}_firs", rows, 1)


def _float_form(p: Preprocessor, firs: list[Fir]) -> Iterable[str]:
    rows = [
        "{" + ", ".join(_float(v) for v in Svf.of(row).numbers()) + "}"
        for stage in p.stages
        if isinstance(stage, Biquads)
        for row in stage.sos
    ]
    if rows:
        yield _table("dlink_section_f32_t", "float_sections", rows, 1)
    tables = [[_float(v) for v in s.phases()[:, ::-1].ravel()] for s in firs]
    yield from _firs("f32", "float", firs, tables)
    yield (
        f"static const dlink_preprocess_f32_t float_chain = {{\n    {_chain(p, len(firs))},\n"
        f"    {'float_sections' if rows else 'NULL'}, {'float_firs' if firs else 'NULL'}, "
        f"{_float(p.gain)}\n}};\n"
    )
    yield _bodies("float", "float", "f32", "FLOAT")


def _counts_form(p: Preprocessor, firs: list[Fir], quant: Quant | None) -> Iterable[str]:
    rows = ["{" + ", ".join(_int(int(v)) for v in row) + "}" for row in fixed.sections(p)]
    if rows:
        yield _table("dlink_section_i32_t", "counts_sections", rows, 1)
    tables = [[_int(int(v)) for v in fixed.taps(s).ravel()] for s in firs]
    yield from _firs("i32", "counts", firs, tables)
    scale = (0, 1) if quant is None else fixed.multiplier(p, float(quant.scale[0]))
    zero_point = 0 if quant is None else quant.zero_point
    yield (
        f"static const dlink_preprocess_i32_t counts_chain = {{\n    {_chain(p, len(firs))},\n"
        f"    {'counts_sections' if rows else 'NULL'}, {'counts_firs' if firs else 'NULL'}, "
        f"{fixed.fraction_bits(p)}, {_float(fixed.inner_gain(p))},\n"
        f"    {scale[0]}, {scale[1]}, {zero_point}\n}};\n"
    )
    yield _bodies("counts", "int32_t", "i32", "COUNTS")
    yield (
        _signature("counts_to_float", "int32_t", "float *output")
        + "\n{\n    dlink_preprocess_i32_to_f32(&counts_chain, values, output, n);\n}\n"
    )
    if quant is not None:
        yield (
            _signature("counts_to_int8", "int32_t", "int8_t *bytes")
            + "\n{\n    dlink_preprocess_i32_to_i8(&counts_chain, values, bytes, n);\n}\n"
        )


def _bodies(name: str, value: str, kind: str, macro: str) -> str:
    state = f"dlink_preprocess_{name}_state_t *state"
    return f"""dlink_preprocess_status_t dlink_preprocess_{name}_start({state})
{{
    if (state == NULL) {{
        return DLINK_PREPROCESS_NULL;
    }}
    dlink_preprocess_{kind}_start(&{name}_chain, &state->head, state->values,
                               DLINK_PREPROCESS_{macro}_VALUES);
    return DLINK_PREPROCESS_OK;
}}

dlink_preprocess_status_t dlink_preprocess_{name}_push({state},
                                                       const {value} *samples, int32_t count,
                                                       {value} *output, int32_t room,
                                                       int32_t *made)
{{
    if (state == NULL) {{
        return DLINK_PREPROCESS_NULL;
    }}
    return dlink_preprocess_{kind}_push(&{name}_chain, &state->head, state->values, samples, count,
                                        output, room, made);
}}
"""
