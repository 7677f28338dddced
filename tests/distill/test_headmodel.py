import numpy as np
import pytest

from distill.headmodel import (
    BRAIN_RADIUS,
    TEN_TWENTY,
    check_names,
    electrode_directions,
    lead_field,
    tilted,
    unit,
)

MIRROR = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def dipoles():
    rng = np.random.default_rng(3)
    positions = unit(rng.standard_normal((12, 3))) * np.linspace(0.1, 0.8, 12)[:, None]
    return positions, unit(rng.standard_normal((12, 3)))


@pytest.fixture(scope="module")
def electrodes():
    return electrode_directions(TEN_TWENTY)


RADII, SIGMAS = (BRAIN_RADIUS, 0.92, 0.97, 1.0), (0.33, 1.0, 0.004, 0.33)


def shell_terms(shell, r, n):
    """(column, value, slope) at radius r of the unknowns a1, a2, b2, a3, b3, a4, b4 of one shell.

    Growing and falling terms are scaled by the shell's outer and inner radius: well conditioned.
    """
    grow = (r / RADII[shell]) ** n
    if shell == 0:
        return [(0, grow, n * grow / r)]
    fall = (RADII[shell - 1] / r) ** (n + 1)
    return [(2 * shell - 1, grow, n * grow / r), (2 * shell, fall, -(n + 1) * fall / r)]


def legendre_weights(n_terms):
    """Potential at the surface of a unit four-shell sphere is sum_n w_n r0**n P_n(cos) per current.

    For each degree n, the field in shell j is a_j r**n + b_j r**-(n+1); potential and current are
    continuous and no current leaves the scalp. Degree 0 does not depend on the place of the
    current, hence nothing for a dipole.
    """
    weights = np.zeros(n_terms)
    for n in range(1, n_terms):
        matrix, right = np.zeros((7, 7)), np.zeros(7)
        for shell in range(3):
            for sign, side in ((1.0, shell), (-1.0, shell + 1)):
                for column, value, slope in shell_terms(side, RADII[shell], n):
                    matrix[2 * shell, column] += sign * value
                    matrix[2 * shell + 1, column] += sign * SIGMAS[side] * slope
        for column, _, slope in shell_terms(3, 1.0, n):
            matrix[6, column] = slope
        # The current itself, b1 = 1 / (4 pi sigma1), at the outside of the brain.
        current, r = 1 / (4 * np.pi * SIGMAS[0]), RADII[0]
        right[0] = -current * r ** -(n + 1)
        right[1] = SIGMAS[0] * current * (n + 1) * r ** -(n + 2)
        solution = np.linalg.solve(matrix, right)
        weights[n] = sum(solution[column] * value for column, value, _ in shell_terms(3, 1.0, n))
    return weights


def exact_field(electrodes, positions, orientations, radius, n_terms=100):
    """The same lead field by the series; the dipole is the derivative of a current by its place."""
    weights = legendre_weights(n_terms)

    def monopole(points):
        depth = np.linalg.norm(points, axis=1)
        series = weights[:, None] * depth[None] ** np.arange(n_terms)[:, None]
        return np.polynomial.legendre.legval(electrodes @ unit(points).T, series, tensor=False)

    step = 1e-5
    ahead = monopole(positions + step * orientations)
    return (ahead - monopole(positions - step * orientations)) / (2 * step) / radius**2


def test_lead_field_agrees_with_the_exact_series(electrodes, dipoles):
    mine = lead_field(electrodes, *dipoles, head_radius=0.09)
    exact = exact_field(electrodes, *dipoles, radius=0.09)
    mine, exact = (field - field.mean(axis=0) for field in (mine, exact))
    error = np.linalg.norm(mine - exact, axis=0) / np.linalg.norm(exact, axis=0)
    # Berg and Scherg's three dipoles approximate the series.
    assert error.max() < 0.005, error


def test_a_larger_head_sees_less(electrodes, dipoles):
    small, large = (lead_field(electrodes, *dipoles, head_radius=r) for r in (0.08, 0.10))
    np.testing.assert_allclose(large, small * 0.64, rtol=1e-9)


def test_lead_field_is_linear_in_the_moment(electrodes, dipoles):
    positions, orientations = dipoles
    other = np.roll(orientations, 1, axis=1)
    both = lead_field(electrodes, positions, 2.0 * orientations - other, 0.09)
    parts = [lead_field(electrodes, positions, o, 0.09) for o in (orientations, other)]
    np.testing.assert_allclose(both, 2.0 * parts[0] - parts[1], atol=1e-12 * np.abs(both).max())


def test_lead_field_keeps_left_and_right_apart(electrodes, dipoles):
    positions, orientations = dipoles
    here = lead_field(electrodes, positions, orientations, 0.09)
    mirrored = lead_field(electrodes * MIRROR, positions * MIRROR, orientations * MIRROR, 0.09)
    np.testing.assert_allclose(mirrored, here, atol=1e-6 * np.abs(here).max())
    swapped = lead_field(electrodes, positions * MIRROR, orientations * MIRROR, 0.09)
    assert np.abs(swapped - here).max() > 0.1 * np.abs(here).max()


def test_turning_the_whole_head_changes_nothing(electrodes, dipoles):
    positions, orientations = dipoles
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    here = lead_field(electrodes, positions, orientations, 0.09)
    there = lead_field(electrodes @ turn, positions @ turn, orientations @ turn, 0.09)
    np.testing.assert_allclose(there, here, atol=1e-6 * np.abs(here).max())


def test_a_subset_of_electrodes_sees_the_same(electrodes, dipoles):
    whole = lead_field(electrodes, *dipoles, head_radius=0.09)
    few = lead_field(electrodes[[4, 5]], *dipoles, head_radius=0.09)
    np.testing.assert_allclose(few, whole[[4, 5]], rtol=1e-9)


def test_radial_dipole_shows_most_right_above_it(electrodes):
    at = TEN_TWENTY.index("C3")
    above = electrodes[[at]]
    field = lead_field(electrodes, 0.7 * above, above, 0.09)[:, 0]
    assert np.argmax(field) == at
    assert 0.05e-6 < field[at] * 1e-9 < 1e-6  # some tenths of a microvolt for 1 nA m


def test_dipole_outside_the_brain_is_refused(electrodes):
    with pytest.raises(ValueError, match=r"0\.950 head radii, brain ends at 0\.9"):
        lead_field(electrodes, 0.95 * electrodes[:1], electrodes[:1], 0.09)


def test_electrodes_are_where_their_names_say(electrodes):
    place = dict(zip(TEN_TWENTY, electrodes, strict=True))
    np.testing.assert_allclose(np.linalg.norm(electrodes, axis=1), 1.0)
    assert place["Cz"][2] > 0.97
    assert place["Fp1"][1] > 0.9
    assert place["O1"][1] < -0.9
    for left, right in (("C3", "C4"), ("F7", "F8"), ("T7", "T8"), ("P3", "P4"), ("O1", "O2")):
        assert place[left][0] < -0.25
        np.testing.assert_allclose(place[left] * MIRROR, place[right], atol=0.04)
    np.testing.assert_array_equal(electrode_directions(["FCC3h", "C3"])[1], place["C3"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["C3", "C99"], "'C99' is not in the 10-05 system"),
        (["FP1"], "'FP1' .* did you mean 'Fp1'"),
        (["c3"], "did you mean 'C3'"),
        (["C3", "Cz", "C3"], "more than once: C3$"),
        ([""], "channel ''"),
    ],
)
def test_names_that_are_no_electrodes_are_named(names, message):
    with pytest.raises(ValueError, match=message):
        check_names(names)


def test_tilt_is_in_degrees():
    up = np.tile([0.0, 0.0, 1.0], (4000, 1))
    turned = tilted(np.random.default_rng(0), up, 10.0)
    angles = np.rad2deg(np.arccos(turned[:, 2]))
    assert 9.3 < np.sqrt(np.mean(angles**2)) < 10.7
    np.testing.assert_allclose(turned[:, :2].mean(axis=0), 0.0, atol=0.01)
