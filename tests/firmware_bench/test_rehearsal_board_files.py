"""The files by which an emulated Pi tells what it is and how it is."""

import subprocess

import pytest

from firmware_bench.rehearsal import board_files
from firmware_bench.rehearsal.board_files import BOARDS, HEALTH, Health
from targets.errors import InputError
from targets.target import load

CPU = "sys/devices/system/cpu"


@pytest.mark.parametrize("board_id", BOARDS)
def test_a_board_agrees_with_its_target_file(board_id):
    board, target = board_files.board(board_id), load(board_id)
    assert target.core == board.core.qemu
    assert target.clock_hz == board.khz * 1000


@pytest.mark.parametrize(("arch", "version"), [("arm64", "8"), ("armhf", "7")])
def test_cpuinfo_names_four_cores_of_the_right_part(tmp_path, arch, version):
    board_files.write(tmp_path, "rpi4b", arch)
    text = (tmp_path / "proc/cpuinfo").read_text()
    assert text.count("processor\t:") == 4
    assert text.count("CPU part\t: 0xd08") == 4
    assert text.count(f"CPU architecture: {version}") == 4
    assert (tmp_path / "proc/device-tree/model").read_bytes().endswith(b"\0")


def test_only_the_a76_has_dot_products(tmp_path):
    has = {}
    for board_id in BOARDS:
        board_files.write(tmp_path / board_id, board_id, "arm64")
        has[board_id] = "asimddp" in (tmp_path / board_id / "proc/cpuinfo").read_text()
    assert has == {"rpi-zero2w": False, "rpi3b+": False, "rpi4b": False, "rpi5": True}


def test_health_is_written_everywhere_it_is_read(tmp_path):
    health = Health(governor="ondemand", khz=600_000, celsius=81.5, throttled=0x50005)
    board_files.write(tmp_path, "rpi3b+", "arm64", health)
    for index in range(4):
        folder = tmp_path / CPU / f"cpu{index}" / "cpufreq"
        assert (folder / "scaling_governor").read_text() == "ondemand\n"
        assert (folder / "scaling_cur_freq").read_text() == "600000\n"
        assert (folder / "scaling_max_freq").read_text() == "1400000\n"
    assert (tmp_path / "sys/class/thermal/thermal_zone0/temp").read_text() == "81500\n"
    assert (tmp_path / "sys/class/hwmon/hwmon1/in0_lcrit_alarm").read_text() == "1\n"
    answers = {
        word: subprocess.run([tmp_path / "vcgencmd", *word.split()], capture_output=True, text=True)
        for word in ("get_throttled", "measure_temp", "measure_clock arm", "nonsense")
    }
    assert answers["get_throttled"].stdout == "throttled=0x50005\n"
    assert answers["measure_temp"].stdout == "temp=81.5'C\n"
    assert answers["measure_clock arm"].stdout == "frequency(48)=600000000\n"
    assert "error=1" in answers["nonsense"].stdout


def test_a_healthy_board_runs_at_its_highest_clock(tmp_path):
    board_files.write(tmp_path, "rpi5", "arm64")
    folder = tmp_path / CPU / "cpu0" / "cpufreq"
    assert (folder / "scaling_cur_freq").read_text() == "2400000\n"
    assert (folder / "scaling_governor").read_text() == "performance\n"


def test_each_start_has_a_boot_id_of_its_own(tmp_path):
    seen = set()
    for _ in range(2):
        board_files.write(tmp_path, "rpi5", "arm64")
        seen.add((tmp_path / "proc/sys/kernel/random/boot_id").read_text())
    assert len(seen) == 2


def test_named_ills_differ_from_the_healthy_board():
    assert all(HEALTH[name] != Health() for name in HEALTH if name != "well")
    assert HEALTH["under-voltage"].throttled & 1
    assert HEALTH["throttled"].throttled & 4


def test_another_board_is_refused():
    with pytest.raises(InputError, match=r"no rehearsal of this board .*nrf52840.*rpi4b"):
        board_files.board("nrf52840")
