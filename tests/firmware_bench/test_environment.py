"""The rules of a valid environment, on machines made of files."""

import pytest

from firmware_bench.environment import RULES, assess, read_state, versions

CPUINFO = """\
processor\t: 0
model name\t: Fine CPU
cpu MHz\t\t: 3000.000
flags\t\t: fpu sse {flag}
processor\t: 1
model name\t: Fine CPU
"""


def machine(root, *, flag="", governor="performance", khz="3000000", load="0.10", steal=0, hot=0):
    cpu0 = root / "sys/devices/system/cpu/cpu0"
    files = {
        "proc/cpuinfo": CPUINFO.format(flag=flag),
        "proc/loadavg": f"{load} 0.2 0.3 1/200 999",
        "proc/stat": f"cpu  100 0 100 800 0 0 0 {steal} 0 0\ncpu0 1 1",
    }
    if governor:
        files["sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"] = governor
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (cpu0 / "cpufreq").mkdir(parents=True, exist_ok=True)
    (cpu0 / "cpufreq/scaling_cur_freq").write_text(khz)
    (cpu0 / "thermal_throttle").mkdir(exist_ok=True)
    (cpu0 / "thermal_throttle/core_throttle_count").write_text(str(hot))
    return read_state(root)


def test_a_quiet_machine_of_ones_own_is_valid(tmp_path):
    state = machine(tmp_path)
    found = assess(state, state)
    assert found.valid
    assert found.description == "Fine CPU, 2 cores, machine"
    assert found.facts["before"]["governor"] == "performance"
    assert found.facts["before"]["frequency_mhz"] == 3000


@pytest.mark.parametrize(
    ("before", "after", "rule", "words"),
    [
        ({"flag": "hypervisor"}, {"flag": "hypervisor"}, "own-machine", "virtual machine"),
        ({"governor": "powersave"}, {}, "governor", '"powersave", not "performance"'),
        ({"load": "1.50"}, {}, "idle-before", "load 1.50 on 2 cores"),
        ({}, {"khz": "1500000"}, "steady-clock", "from 3000 to 1500 MHz"),
        ({}, {"hot": 4}, "no-throttling", "throttled"),
        ({}, {"steal": 100}, "no-stolen-time", "% of the processor time"),
    ],
)
def test_every_rule_can_fail_and_names_itself(tmp_path, before, after, rule, words):
    first = machine(tmp_path / "a", **before)
    found = assess(first, machine(tmp_path / "b", **after))
    assert not found.valid
    assert [fault.rule for fault in found.faults] == [rule]
    assert words in found.faults[0].text
    assert rule in RULES


def test_an_unreadable_governor_is_a_fault_not_a_pass(tmp_path):
    state = machine(tmp_path, governor="")
    assert [fault.rule for fault in assess(state, state).faults] == ["governor"]


def test_a_container_counts_as_shared(tmp_path):
    state = machine(tmp_path)
    (tmp_path / ".dockerenv").touch()
    assert assess(read_state(tmp_path), state).faults[0].rule == "own-machine"


def test_an_empty_machine_is_read_without_a_crash(tmp_path):
    state = read_state(tmp_path)
    assert not assess(state, state).valid


def test_this_machine_and_its_versions():
    found = assess(read_state(), read_state())
    assert found.facts["cores"] >= 1
    assert {"python", "kernel", "numpy", "onnxruntime"} <= set(versions())
