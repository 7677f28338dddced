"""Quantities: exact, reversible, and never guessed."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.errors import InputError
from targets.units import AMBIGUOUS, BASE_UNIT, UNITS, exact, human, parse


@pytest.mark.parametrize(
    ("text", "number", "dimension"),
    [
        ("256 KiB", 262_144, "size"),
        ("256 kB", 256_000, "size"),
        ("1.5 MiB", 1_572_864, "size"),
        ("12 ms", 12, "time"),
        ("0.1 s", 100, "time"),
        ("250 µs", 0.25, "time"),
        ("90 %", 0.9, "fraction"),
        ("2 pp", 0.02, "fraction"),
        ("1.5x", 1.5, "ratio"),
        ("12 M", 12_000_000, "count"),
        ("12_000", 12_000, "count"),
        ("1e3", 1000, "count"),
        (0, 0, "count"),
        ("120 MHz", 120_000_000, "frequency"),
    ],
)
def test_reads_what_people_write(text, number, dimension):
    quantity = parse(text)
    assert (quantity.number, quantity.dimension) == (number, dimension)


def test_numbers_are_exact():
    assert parse("0.1 ms").value == Fraction(1, 10)
    assert isinstance(parse("1.5 KiB").number, int)


@pytest.mark.parametrize("unit", sorted(AMBIGUOUS))
def test_ambiguous_units_are_refused_with_the_choice(unit):
    with pytest.raises(InputError, match="ambiguous") as err:
        parse(f"64 {unit}")
    assert "Write" in str(err.value)
    assert f"64 {unit}" in str(err.value)


@pytest.mark.parametrize("text", ["", "KiB", "twelve ms", "1 2 ms", "--3", "1.2.3 ms", True, "nan"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(InputError, match=r"not a quantity|unknown unit"):
        parse(text)


def test_another_dimension_is_refused_with_the_units_that_fit():
    with pytest.raises(InputError, match="a size is needed here") as err:
        parse("12 ms", "size", where="budgets.toml:3")
    assert str(err.value).startswith("budgets.toml:3: ")
    assert "KiB" in str(err.value)


def test_a_bare_number_fits_ratio_and_fraction_but_not_size():
    assert parse(5, "ratio").number == 5
    assert parse("0.5", "fraction").number == 0.5
    with pytest.raises(InputError, match="a size is needed"):
        parse(128, "size")


@given(
    st.sampled_from(sorted(name for name in UNITS if name)),
    st.integers(0, 10**9),
    st.sampled_from([0, 1, 3]),
)
def test_written_form_reads_back_the_same_number(unit, digits, places):
    quantity = parse(f"{Fraction(digits, 10**places).numerator} {unit}")
    assert parse(str(quantity)) == quantity


@given(st.sampled_from(sorted(BASE_UNIT)), st.integers(0, 2**40))
def test_integers_of_every_dimension_come_back(dimension, number):
    assert parse(exact(number, dimension), dimension).value == number


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0321, "ms", "32.1 µs"),
        (37.24, "ms", "37.2 ms"),
        (12_345, "ms", "12.3 s"),
        (999, "B", "999 B"),
        (23_068_672, "B", "22.0 MiB"),
        (4.564, "x", "4.56x"),
        (701_234, "1", "701,234"),
        (0.6543, "1", "0.654"),
    ],
)
def test_rounded_for_a_reader(value, unit, text):
    assert human(value, unit) == text
