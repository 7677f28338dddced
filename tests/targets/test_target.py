"""Boards: data-sheet figures with their sources, and helpful refusals."""

import pytest
from pydantic import ValidationError

from targets.errors import InputError
from targets.target import Target, all_ids, from_toml, load

EXPECTED = {
    "corstone300", "host", "nrf52840", "nucleo-h743zi", "nucleo-l4r5zi", "rp2040", "rp2350",
    "rpi-zero2w", "rpi3b+", "rpi4b", "rpi5",
}  # fmt: skip


def test_every_board_of_the_list_is_there():
    assert set(all_ids()) == EXPECTED


@pytest.mark.parametrize("target_id", sorted(EXPECTED))
def test_every_board_loads_with_figures_and_sources(target_id):
    target = load(target_id)
    assert target.id == target_id
    if target.kind != "host":
        assert target.clock_hz >= 1_000_000
        assert all(source.startswith("https://") for source in target.sources)
    if target.kind == "cortex-m":
        assert target.core.startswith("cortex-m")
        assert target.flash_bytes % 1024 == target.sram_bytes % 1024 == 0
        assert target.flash_bytes > target.sram_bytes


def test_figures_of_the_reference_board():
    board = load("nucleo-l4r5zi")
    assert (board.core, board.isa) == ("cortex-m4", "dsp")
    assert (board.clock_hz, board.flash_bytes, board.sram_bytes) == (
        120_000_000,
        2 << 20,
        640 << 10,
    )
    assert board.summary == "cortex-m4, 120 MHz, 2 MiB flash, 640 KiB SRAM"


def test_flash_terms_are_there_only_where_they_are_known():
    known = {target_id for target_id in all_ids() if load(target_id).flash_terms is not None}
    assert known == {"nucleo-l4r5zi"}
    terms = load("nucleo-l4r5zi").flash_terms
    assert (terms.fetch_bytes, terms.fetch_cycles) == (32, 1.0)
    assert (terms.lines, terms.line_bytes, terms.miss_cycles) == (8, 8, 3.9)
    assert terms.source


def test_unknown_target_lists_all_and_suggests():
    with pytest.raises(InputError) as err:
        load("nucleo-l4r5")
    text = str(err.value)
    assert 'Did you mean "nucleo-l4r5zi"?' in text
    assert all(name in text for name in EXPECTED)


def test_a_target_is_frozen():
    with pytest.raises(ValidationError):
        load("rp2040").clock_hz = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("sources", None), "needs sources"),
        (("clock", "120 Mhz"), "ambiguous"),
        (("isa", "avx"), "isa"),
        (("colour", "green"), "colour"),
        (("flash", "12 ms"), "a size is needed"),
        (("flash_terms", {"lines": 0}), r"flash_terms\.lines"),
    ],
)
def test_faulty_board_files_are_refused_by_name(change, message):
    fields = {
        "name": "X", "kind": "cortex-m", "core": "cortex-m4", "isa": "dsp", "clock": "1 MHz",
        "flash": "1 MiB", "sram": "1 KiB", "runtimes": ["c"], "sources": ["https://example.com"],
    }  # fmt: skip
    key, value = change
    fields.pop(key, None)
    if value is not None:
        fields[key] = value
    tables = {name: fields.pop(name) for name, f in dict(fields).items() if isinstance(f, dict)}
    text = "\n".join(f"{name} = {value!r}" for name, value in fields.items())
    for name, table in tables.items():
        text += f"\n[{name}]\n" + "\n".join(f"{key} = {entry!r}" for key, entry in table.items())
    with pytest.raises(InputError, match=message) as err:
        from_toml("x", text, where="x.toml")
    assert "x.toml" in str(err.value)


def test_target_needs_no_source_only_on_the_host():
    assert load("host").sources == ()
    assert isinstance(load("host"), Target)
