"""Where electrodes and dipoles sit on a spherical head, and which potential each dipole causes.

The head is MNE's four-shell sphere (brain, fluid, skull, scalp; Berg and Scherg 1994). Coordinates:
origin at the centre of the sphere, x to the right ear, y to the nose, z up; positions are given in
head radii, so that one model serves every head: a potential scales with 1 / radius**2.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TEN_TWENTY = (
    *("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"),
    *("F7", "F8", "T7", "T8", "P7", "P8", "Fz", "Cz", "Pz"),
)
BRAIN_RADIUS = 0.90
"""Outer radius of the innermost shell, in head radii: dipoles lie inside."""
_SHELLS = {"relative_radii": (BRAIN_RADIUS, 0.92, 0.97, 1.0), "sigmas": (0.33, 1.0, 0.004, 0.33)}
_MODEL_RADIUS = 0.1  # m; any value would do, see lead_field


@functools.cache
def template_montage() -> Any:
    """MNE's extended 10-20 montage (343 names), under the name that this MNE gives to it."""
    import mne

    # MNE 1.13 renamed standard_1005 to colin27_1005, the same positions.
    known = mne.channels.get_builtin_montages()
    name = "colin27_1005" if "colin27_1005" in known else "standard_1005"
    return mne.channels.make_standard_montage(name)


def check_names(ch_names: Sequence[str]) -> None:
    """Raise ValueError that names the channels which are doubled or not in the 10-05 system."""
    doubled = sorted({name for name in ch_names if list(ch_names).count(name) > 1})
    if doubled:
        raise ValueError(f"channel named more than once: {', '.join(doubled)}")
    known = {name.casefold(): name for name in template_montage().ch_names}
    for name in ch_names:
        if known.get(name.casefold()) != name:
            near = known.get(name.casefold()) or next(
                iter(difflib.get_close_matches(name, list(known.values()), 1)), "C3"
            )
            raise ValueError(f"channel {name!r} is not in the 10-05 system; did you mean {near!r}?")


@functools.cache
def _template_directions() -> dict[str, Array]:
    """Unit vector of every electrode from the centre of the sphere fitted to the 19 of 10-20."""
    import mne

    montage = template_montage()
    info = mne.create_info(montage.ch_names, 1.0, "eeg").set_montage(montage, verbose="error")
    head = info.get_montage().get_positions()["ch_pos"]
    # |p|^2 = 2 p.c + (r^2 - |c|^2) is linear in the centre c.
    cap = np.array([head[name] for name in TEN_TWENTY])
    design = np.column_stack([2 * cap, np.ones(len(cap))])
    centre = np.linalg.lstsq(design, (cap**2).sum(axis=1), rcond=None)[0][:3]
    return {name: unit(position - centre) for name, position in head.items()}


def electrode_directions(ch_names: Sequence[str]) -> Array:
    """Unit vectors (n_chans, 3) of 10-05 electrodes on the sphere."""
    check_names(ch_names)
    return np.array([_template_directions()[name] for name in ch_names])


def unit(vectors: Array) -> Array:
    """Vectors (..., 3) scaled to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def tilted(rng: np.random.Generator, directions: Array, degrees: float) -> Array:
    """Unit vectors (n, 3), each turned at random by about `degrees` (root mean square)."""
    # Two of the three Gaussian components turn the vector, hence the square root of two.
    spread = np.tan(np.deg2rad(degrees)) / np.sqrt(2)
    return unit(directions + spread * rng.standard_normal(directions.shape))


@functools.cache
def _sphere() -> Any:
    import mne

    return mne.make_sphere_model(
        r0=(0.0, 0.0, 0.0), head_radius=_MODEL_RADIUS, verbose="error", **_SHELLS
    )


def lead_field(
    electrodes: Array, positions: Array, orientations: Array, head_radius: float
) -> Array:
    """Potential of unit dipoles at electrodes, against the potential at infinity.

    Parameters
    ----------
    electrodes : (n_chans, 3)
        Unit vectors: electrodes lie on the scalp.
    positions : (n_sources, 3)
        Dipole positions in head radii, inside ``BRAIN_RADIUS``.
    orientations : (n_sources, 3)
        Directions of the moments; their length scales the column.
    head_radius : float
        In metres.

    Returns
    -------
    (n_chans, n_sources) in volts per ampere metre.

    Raises
    ------
    ValueError
        A dipole outside the brain shell.
    """
    import mne

    depth = np.linalg.norm(positions, axis=1)
    if depth.max() >= BRAIN_RADIUS:
        raise ValueError(f"dipole at {depth.max():.3f} head radii, brain ends at {BRAIN_RADIUS}")
    names = [f"E{i}" for i in range(len(electrodes))]
    placed = dict(zip(names, electrodes * _MODEL_RADIUS, strict=True))
    info = mne.create_info(names, 1.0, "eeg")
    info.set_montage(mne.channels.make_dig_montage(placed, coord_frame="head"), verbose="error")
    points = {"rr": positions * _MODEL_RADIUS, "nn": unit(positions)}
    forward = mne.make_forward_solution(
        info,
        trans=None,
        src=mne.setup_volume_source_space(pos=points, sphere_units="m", verbose="error"),
        bem=_sphere(),
        meg=False,
        verbose="error",
    )
    free = forward["sol"]["data"].reshape(len(electrodes), len(positions), 3)
    field = np.einsum("eki,ki->ek", free, orientations)
    return np.asarray(field * (_MODEL_RADIUS / head_radius) ** 2)
