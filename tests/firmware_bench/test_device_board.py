"""What a board's files say, and what speaks for an emulator."""

import struct

import pytest

from firmware_bench.device import board, emulation, power
from firmware_bench.device.child import name_of
from firmware_bench.device.journal import Journal, WrongJournal, read

CPUINFO = """processor\t: 0
CPU implementer\t: 0x41
CPU part\t: 0xd0b

processor\t: 1
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Revision\t: c04170
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
FILES = {
    "proc/cpuinfo": CPUINFO,
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
    "proc/loadavg": "0.25 0.1 0.0 1/100 999",
    "proc/meminfo": "MemTotal: 4000 kB\nMemAvailable: 3000 kB\nSwapTotal: 100 kB\nSwapFree: 60 kB",
    "proc/vmstat": "pgfault 1\npswpin 3\npswpout 4",
    "proc/sys/kernel/random/boot_id": "abc",
    "proc/self/maps": "00400000 r-xp /usr/bin/python3",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "ondemand",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "2400000",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "48312",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
}


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_board_is_read_from_its_files(root):
    seen, now = board.identity(root), board.state(root)
    assert seen["model"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert (seen["cores"], seen["cpu_part"], seen["boot_id"]) == (2, "0xd0b", "abc")
    assert seen["memory_bytes"] == 4000 * 1024
    assert seen["system"] == "Debian GNU/Linux 12 (bookworm)"
    assert not seen["virtual"]
    assert now["governor"] == "ondemand, performance"  # every core counts
    assert (now["frequency_mhz"], now["max_mhz"], now["temperature_c"]) == (1500.0, 2400.0, 48.312)
    assert (now["load_1m"], now["swap_used_bytes"], now["swapped_pages"]) == (0.25, 40 * 1024, 7)
    assert now["throttled_bits"] == 0x50005
    assert now["throttled"] == [
        "under-voltage", "throttled", "under-voltage has occurred", "throttling has occurred",
    ]  # fmt: skip


def test_a_board_that_tells_nothing_gives_none_not_zeros(tmp_path):
    now = board.state(tmp_path)
    for name in ("governor", "frequency_mhz", "temperature_c", "throttled_bits", "load_1m"):
        assert now[name] is None
    assert board.identity(tmp_path)["model"] is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("proc/self/maps", "x /usr/bin/qemu-aarch64", "emulator in /proc/self/maps"),
        ("proc/self/smaps", "x\n" * 10_000 + "/usr/bin/qemu-arm", "emulator in /proc/self/smaps"),
        ("proc/device-tree/compatible", "linux,dummy-virt\0", "virtual board"),
    ],
)
def test_an_emulator_betrays_itself(root, name, text, words):
    assert emulation.signs(root) == []
    (root / name).write_text(text)
    assert words in emulation.signs(root)[0]


def test_an_emulator_may_say_so_itself(root, monkeypatch):
    monkeypatch.setenv(emulation.MARK, "1")
    assert emulation.signs(root) == ["DLINK_EMULATED=1 is set"]


def auxv(*pairs):
    return b"".join(struct.pack("LL", *pair) for pair in (*pairs, (0, 0)))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("proc/cpuinfo", b"vendor_id : GenuineIntel\n", "another processor"),
        ("proc/sys/kernel/osrelease", b"6.18.1-generic\n", "the kernel says 6.6.51, /proc says"),
        ("proc/self/auxv", auxv((6, 4096), (16, 0xFF)), "no vDSO"),
        ("proc/self/smaps", b"7f00-7f01 r-xp /lib64/ld-linux-x86-64.so.2\n", "emulator in"),
    ],
)
def test_an_arm_program_on_another_machines_kernel_betrays_itself(
    root, monkeypatch, name, content, words
):
    monkeypatch.setattr(emulation.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(emulation.platform, "release", lambda: "6.6.51")
    (root / "proc/self/auxv").write_bytes(auxv((33, 0x7FFF0000), (6, 4096)))
    assert emulation.signs(root) == []
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert len(emulation.signs(root)) == 1
    assert words in emulation.signs(root)[0]


def test_the_emulators_own_variables_betray_it(root, monkeypatch):
    monkeypatch.setenv("QEMU_CPU", "cortex-a76")
    assert emulation.signs(root) == ["QEMU_CPU is set"]


@pytest.mark.parametrize(
    "text",
    [
        "  VDD_CORE_A current(7)=2.00000000A\n  EXT5V_V volt(24)=5.1V\n"
        "  VDD_CORE_V volt(15)=0.80000000V\n 1V8_SYS_A current(1)=0.5A\n 1V8_SYS_V volt(9)=1.8V\n",
        "VDD_CORE_V=0.8V\nVDD_CORE_A=2.0A\n1V8_SYS_A=0.5A\n1V8_SYS_V=1.8V\nBATT_V=0.0V\n",
    ],
)
def test_power_is_the_sum_over_rails_that_tell_both(text):
    assert power.watts(text) == pytest.approx(0.8 * 2.0 + 1.8 * 0.5)
    assert power.watts("EXT5V_V volt(24)=5.1V") is None


def test_the_end_of_a_process_has_a_name():
    assert [name_of(code) for code in (-11, -4, 3)] == ["SIGSEGV", "SIGILL", "exit 3"]
    assert "memory" in name_of(-9)


def test_a_journal_keeps_whole_lines_and_drops_a_torn_one(tmp_path):
    path, told = tmp_path / "j", []
    first = Journal(path, "digest", told.append)
    first.add("a", {"n": 1})
    with path.open("a") as handle:
        handle.write('{"key":"b","val')
    again = Journal(path, "digest")
    assert again.resumed
    assert again["a"] == {"n": 1}
    assert "b" not in again
    again.add("c", {"n": 3})
    assert list(read(path)) == ["job", "a", "c"]
    assert len(told) == 2
    with pytest.raises(WrongJournal):
        Journal(path, "another")
