"""The lines that a board's run ends with."""

from pi_records import ENTRIES, record, units

from export.golden import Golden
from firmware_bench.pi import bench, bundle, table
from firmware_bench.results import Results
from targets.target import load


def test_a_run_ends_with_the_board_its_notes_and_what_has_no_column():
    found = units()
    found[f"fault:{ENTRIES[2]}"] = {"phase": "alone", "error": "SIGSEGV", "signal": "SIGSEGV"}
    found["round:4:2"]["state"]["unix"] += 3600
    run, figures = bench.evaluate(record(found), load("rpi5"))
    results = Results(created="2026", manifest={}, runs=(run,), measurements=tuple(figures))
    text = table.lines(results, run)
    assert text[0].startswith("rpi5: Raspberry Pi 5 Model B Rev 1.0, 4 cores, 64 bit")
    assert text[1].startswith("  note: the board's wall clock jumped by ")
    assert any("2.00x (int8 is faster under litert" in line for line in text)
    assert text[-1] == "  teacher fp32.onnx: no time: alone: SIGSEGV"


def test_raw_outputs_have_the_names_of_the_golden_file():
    assert set(bundle.RAW.values()) <= set(Golden.__annotations__)
