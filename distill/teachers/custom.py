"""Any module of the user's as a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.checkpoints import load_strict, read_state
from distill.signal import SignalSpec
from distill.taps import INPUT, submodule, tap
from distill.teachers.factory import WHERE, make_module
from distill.teachers.hub import locate
from distill.teachers.protocol import SignalNeeds, TokenLayout
from distill.teachers.registry import check_needs
from distill.teachers.tapped import TappedTeacher
from distill.teachers.tokens import TokenForm
from targets.errors import InputError

PROBE = 2  # windows of the trial run: more than one, for modules that squeeze single ones


@dataclass(frozen=True)
class ModuleSpec:
    """A module, its layers and its signal.

    Attributes
    ----------
    factory, arguments : see :func:`distill.teachers.factory.make_module`.
    layers : dotted paths of the layers to learn from, first to last; "path:input" for what enters
        a layer.
    form : how a layer's output becomes tokens.
    head : dotted path of the classification head: it has its own learning rate, and a checkpoint
        may lack it.
    needs : what the module expects of a window.
    """

    factory: str
    layers: tuple[str, ...]
    form: TokenForm
    head: str
    needs: SignalNeeds
    arguments: Mapping[str, Any] = field(default_factory=dict)


def build_module(
    spec: ModuleSpec, signal: SignalSpec, n_outputs: int, *, checkpoint: Path | str | None = None
) -> TappedTeacher:
    """Make the module, try it with silent windows, load its checkpoint strictly.

    Raises
    ------
    InputError
        Unfit signal, a factory that is not found or fails; then every fault of layers, head,
        tokens and logits at once; a checkpoint of another model.
    """
    check_needs("this module", spec.needs, signal)
    model = make_module(spec.factory, spec.arguments, signal, n_outputs)
    teacher = TappedTeacher(
        "module",
        model,
        spec.layers,
        probe(model, spec, signal, n_outputs),
        form=spec.form,
        head=spec.head,
        origin=partial(build_module, spec, signal, n_outputs),
    )
    if checkpoint is not None:
        state = read_state(locate(checkpoint))
        new = (teacher.head_prefix,)
        teacher.fresh = tuple(load_strict(model, state, where=checkpoint, new=new))
    return teacher


def probe(model: nn.Module, spec: ModuleSpec, signal: SignalSpec, n_outputs: int) -> TokenLayout:
    """The layout of the tokens that the module's layers give, found by running it once.

    Raises
    ------
    InputError
        Every fault of the module's table at once.
    """
    faults = _path_faults(model, spec)
    layers = [path for path in spec.layers if path not in faults]
    logits, recorded = _run(model, layers, spec.factory, signal)
    if not isinstance(logits, Tensor) or logits.shape != (PROBE, n_outputs):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        faults["output"] = f"must be ({PROBE}, {n_outputs}) for {PROBE} windows, is {got}"
    n_patches = signal.n_times // spec.needs.patch
    widths: dict[str, tuple[int, int]] = {}
    for path in layers:
        try:
            tokens = spec.form.tokens(recorded.get(path), PROBE, signal.n_chans, n_patches)
            widths[path] = (tokens.shape[1], tokens.shape[3])
        except ValueError as err:
            faults[path] = str(err)
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{path} {width}" for path, width in widths.items())
        faults["layers"] = f"must agree in (channels, d): {listed}"
    if faults:
        raise InputError(
            "does not fit its table" + "".join(f"\n  {k}: {v}" for k, v in faults.items()),
            where=f"{WHERE} = {spec.factory!r}",
        )
    chans, d = widths[spec.layers[0]]
    return TokenLayout(chans, n_patches, d, 1, "time_major", electrodes=chans == signal.n_chans)


def _path_faults(model: nn.Module, spec: ModuleSpec) -> dict[str, str]:
    """Layers and head that are not there, each with what stands in its place."""
    faults = {}
    for path in (*spec.layers, spec.head):
        try:
            submodule(model, path.removesuffix(INPUT))
        except InputError as err:
            faults[path] = f"is not in the model: {err.where} holds {err.limit}"
    if spec.head not in faults and not list(submodule(model, spec.head).parameters()):
        faults[spec.head] = "is the head, but has no parameters"
    return faults


def _run(
    model: nn.Module, layers: list[str], factory: str, signal: SignalSpec
) -> tuple[Any, dict[str, Tensor]]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), tap(model, layers) as recorded:
            logits = model(torch.zeros(PROBE, signal.n_chans, signal.n_times))
    except InputError:
        raise
    except Exception as err:
        # The user's forward may fail in any way; its own words say why.
        raise InputError(
            f"fails on windows ({PROBE}, {signal.n_chans}, {signal.n_times}): "
            f"{type(err).__name__}: {err}",
            where=f"{WHERE} = {factory!r}",
        ) from err
    finally:
        model.train(was_training)
    return logits, recorded
