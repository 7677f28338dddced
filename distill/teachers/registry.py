"""The built-in teachers by name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from distill.checkpoints import load_strict, read_state
from distill.signal import SignalSpec
from distill.teachers.architecture import Architecture
from distill.teachers.biot import BIOT
from distill.teachers.cbramod import CBRAMOD
from distill.teachers.eegpt import EEGPT
from distill.teachers.hub import locate
from distill.teachers.labram import LABRAM
from distill.teachers.protocol import SignalNeeds
from distill.teachers.tapped import TappedTeacher
from targets.errors import InputError

ARCHITECTURES: dict[str, Architecture] = {
    "labram": LABRAM,
    "cbramod": CBRAMOD,
    "biot": BIOT,
    "eegpt": EEGPT,
}


def architecture(name: str) -> Architecture:
    """The registered architecture, or an error that lists the known names."""
    if name not in ARCHITECTURES:
        raise InputError(
            "teacher is not known", where="[teacher] name", value=name,
            limit=", ".join(ARCHITECTURES),
        )  # fmt: skip
    return ARCHITECTURES[name]


def check_signal(name: str, signal: SignalSpec) -> None:
    """Refuse a signal contract that the teacher was not made for, naming every difference."""
    check_needs(name, architecture(name).needs, signal)


def check_needs(name: str, needs: SignalNeeds, signal: SignalSpec) -> None:
    """Refuse a signal contract that differs from a teacher's needs, naming every difference."""
    faults = [
        f"{field} must be {want} for {name}, is {got}"
        for field, want, got in (
            ("sfreq", needs.sfreq, signal.sfreq),
            ("unit", needs.unit, signal.unit),
            ("scale", needs.scale, signal.scale),
        )
        if want != got
    ]
    if signal.n_times % needs.patch:
        faults.append(
            f"n_times must be a multiple of the patch ({needs.patch}), is {signal.n_times}"
        )
    if faults:
        raise InputError(
            "; ".join(faults), where="[signal]", todo="Leave these keys out: the teacher sets them."
        )


def build_teacher(
    name: str,
    signal: SignalSpec,
    n_outputs: int,
    *,
    n_layers: int | None = None,
    dropout: float = 0.1,
    checkpoint: Path | str | None = None,
) -> TappedTeacher:
    """Build a built-in teacher, and load a checkpoint strictly if one is given.

    Parameters
    ----------
    name : one of :data:`ARCHITECTURES`.
    n_layers : depth; None is the published one. A checkpoint must have the same depth.
    checkpoint : file, or hub id (see :func:`distill.teachers.hub.locate`), in braindecode's or
        the authors' key names; its head may be absent or of another size (it is then new),
        everything else must match key by key.

    Raises
    ------
    InputError
        Unknown name, unfit signal, unknown electrodes, checkpoint of another model.
    """
    arch = architecture(name)
    check_signal(name, signal)
    if arch.check_names is not None:
        arch.check_names(signal.ch_names)
    depth = arch.depth if n_layers is None else n_layers
    model = arch.build(signal, n_outputs, depth, dropout)
    teacher = TappedTeacher(
        name,
        model,
        arch.layers(depth),
        arch.layout(signal),
        form=arch.form,
        ch_names=signal.ch_names if arch.passes_names else None,
        prepare=arch.prepare,
        origin=partial(build_teacher, name, signal, n_outputs, n_layers=depth, dropout=dropout),
    )
    if checkpoint is not None:
        found = arch.keys.convert(read_state(locate(checkpoint)), model, where=checkpoint)
        fresh = load_strict(
            model, found.state, where=checkpoint, new=arch.keys.new, names=found.names
        )
        teacher.fresh = tuple(fresh)
    return teacher
