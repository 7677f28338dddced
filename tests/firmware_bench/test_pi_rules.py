"""Each rule of a valid board: the quiet board keeps all, and each fault breaks its own."""

import pytest
from pi_records import record, start, state, units

from firmware_bench.pi import rules
from targets.target import load

PI5 = load("rpi5")


def broken(found, target=PI5):
    return {fault.rule: fault.text for fault in rules.assess(record(found), target).faults}


def with_state(key, **changed):
    found = units()
    found[key]["state"].update(changed)
    return found


def with_identity(**changed):
    found = units()
    found["start:0"]["identity"].update(changed)
    return found


def test_a_quiet_board_keeps_every_rule_and_its_facts_are_kept():
    environment = rules.assess(record(), PI5)
    assert environment.valid
    assert environment.facts["notes"] == {}
    assert environment.facts["during"]["temperature_c"] == [51.0, 51.0]
    assert "Raspberry Pi 5 Model B Rev 1.0, 4 cores, 64 bit" in environment.description


@pytest.mark.parametrize(
    ("rule", "found", "words"),
    [
        ("wrong-board", with_identity(model="Raspberry Pi 500 Rev 1.0"), "not a Raspberry Pi 5"),
        ("wrong-board", with_identity(model=None), "an unknown board"),
        ("own-machine", with_identity(virtual=True), "virtual machine"),
        ("governor", with_state("round:1:2", governor="ondemand"), '"ondemand"'),
        ("throttled-now", with_state("start:0", throttled_bits=0x4, throttled=["throttled"]),
         "before the run: throttled"),
        ("throttled-during", with_state("round:1:1", throttled_bits=0x2, throttled=["capped"]),
         "during the run: capped"),
        ("throttled-during", with_state("end", throttled_bits=0x40000, throttled=["has"]), "has"),
        ("under-voltage", with_state("round:4:0", throttled_bits=0x10000, throttled=["x"]),
         "sagged"),
        ("hot", with_state("round:4:3", temperature_c=81.5), "reached 82 °C"),
        ("busy", with_state("start:0", load_1m=2.4), "load 2.40 on 4 cores"),
        ("steady-clock", with_state("round:1:3", frequency_mhz=1500.0), "from 2400 to 1500 MHz"),
        ("rated-clock", with_state("end", max_mhz=3000.0), "3000 MHz, the data sheet's 2400 MHz"),
        ("swap", with_state("end", swapped_pages=9), "2 pages"),
    ],
)  # fmt: skip
def test_each_fault_breaks_its_own_rule_alone(rule, found, words):
    faults = broken(found)
    assert list(faults) == [rule]
    assert words in faults[rule]


def test_bits_that_were_set_before_the_run_are_a_note_not_a_fault():
    found = units()
    for value in found.values():
        if "state" in value:
            value["state"].update(throttled_bits=0x50000, throttled=["under-voltage has occurred"])
    environment = rules.assess(record(found), PI5)
    assert environment.valid
    assert "since its start: under-voltage" in environment.facts["notes"]["since-boot"]


def test_an_idle_clock_before_the_run_is_no_fault():
    assert broken(with_state("start:0", frequency_mhz=1500.0)) == {}


def test_a_board_that_tells_nothing_of_throttling_is_not_vouched_for():
    found = units()
    for value in found.values():
        if "state" in value:
            value["state"].update(throttled_bits=None, throttled=None)
    assert list(broken(found)) == ["throttling-unknown"]


@pytest.mark.parametrize(
    ("target", "model"),
    [
        ("rpi-zero2w", "Raspberry Pi Zero 2 W Rev 1.0"),
        ("rpi3b+", "Raspberry Pi 3 Model B Plus Rev 1.3"),
        ("rpi4b", "Raspberry Pi 4 Model B Rev 1.4"),
    ],
)
def test_a_board_is_known_by_its_model(target, model):
    assert "wrong-board" not in broken(with_identity(model=model), load(target))
    assert "wrong-board" in broken(with_identity(model="Raspberry Pi 3 Model B Rev 1.2"))


def test_a_clock_jump_a_32_bit_system_and_a_restart_are_notes():
    found = with_identity(pointer_bits=32)
    found["round:4:3"]["state"]["unix"] += 7200
    later = {"start:1": start(50.0, {"boot_id": "b", "pointer_bits": 32})}
    environment = rules.assess(record(found | later), PI5)
    notes = environment.facts["notes"]
    assert set(notes) == {"clock-jump", "32-bit", "resumed"}
    assert "7200.0 s" in notes["clock-jump"]
    assert "2 times, the board itself 1 times" in notes["resumed"]


def test_a_restart_that_sets_the_monotonic_clock_back_is_no_jump():
    found = units()
    found["start:1"] = {**start(), "state": state(0.0) | {"monotonic": 3.0, "unix": 1e9 + 500}}
    assert rules.clock_jump(record(found), PI5) == ""
