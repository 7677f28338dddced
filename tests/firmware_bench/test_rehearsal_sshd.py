"""A Pi behind ssh: what a true one does, and the faults that can be switched on."""

import hashlib
import os
import subprocess
import sys
import time

import pytest
from rehearsal_rig import needs_board

from firmware_bench.rehearsal import sshd
from firmware_bench.rehearsal.board_files import HEALTH
from targets.errors import InputError

pytestmark = needs_board
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture(scope="module")
def board():
    try:
        with sshd.Pi("rpi4b") as pi:
            yield pi
    except InputError as err:
        pytest.skip(f"no emulated machine here: {err}")


@pytest.fixture
def pi(board):
    yield board
    board.heal()


def scp(pi, *words):
    command = ["scp", "-q", "-F", str(pi.config), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_command_runs_on_the_board(pi):
    done = pi.ssh("uname -nmr; id -un; pwd; tr -d '\\0' < /proc/device-tree/model; exit 42")
    words = "raspberrypi 6.6.51+rpt-rpi-v8 aarch64\npi\n/home/pi\nRaspberry Pi 4 Model B Rev 1.4"
    assert (done.returncode, done.stdout, done.stderr) == (42, words, "")


def test_input_passes_and_child_processes_are_emulated_too(pi):
    code = (
        "import subprocess, sys, os;"
        "print(len(sys.stdin.read()), subprocess.check_output(['uname', '-m'], text=True),"
        "'0xd08' in open('/proc/cpuinfo').read())"
    )
    done = pi.ssh(f'python3 -c "{code}"', stdin="x" * 200_000)
    assert done.stdout == "200000 aarch64\n True\n", done.stderr


def test_files_go_there_and_back(pi, tmp_path):
    data = os.urandom(300_000)
    (tmp_path / "there").write_bytes(data)
    assert scp(pi, tmp_path / "there", f"{sshd.HOST}:name with blank").returncode == 0
    assert (pi.home / "name with blank").read_bytes() == data
    digest = pi.ssh("sha256sum 'name with blank'").stdout.split()[0]
    assert digest == hashlib.sha256(data).hexdigest()
    assert scp(pi, f"{sshd.HOST}:name with blank", tmp_path / "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == data


def test_this_machines_files_are_not_there(pi):
    done = pi.ssh("ls /work /root/.ssh /usr/lib/gcc; touch /usr/x; cat /etc/hostname; ls ~")
    assert "cannot access '/usr/lib/gcc'" in done.stderr
    assert "Read-only file system" in done.stderr


def test_a_connection_is_cut_and_the_next_one_stands(pi, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(1_000_000))
    pi.cut(after_bytes=200_000)
    assert scp(pi, tmp_path / "large", f"{sshd.HOST}:large").returncode != 0
    assert (pi.home / "large").stat().st_size < 1_000_000
    pi.cut(after_s=2.0)
    assert pi.ssh("sleep 60").returncode == 255
    pi.heal()
    assert pi.ssh("echo here").stdout == "here\n"


def test_a_reboot_kills_all_refuses_for_a_while_and_shows_in_the_boot_id(pi):
    before = pi.ssh(f"{BOOT_ID}; touch /tmp/lost ~/kept; (sleep 600 >/dev/null 2>&1 &)").stdout
    began = time.monotonic()
    pi.reboot(down_s=0.5)
    assert time.monotonic() - began > 0.5
    after = pi.ssh(f"{BOOT_ID}; ls /tmp ~/kept; ls -d /proc/[0-9]* | wc -l").stdout
    assert before.split()[0] != after.split()[0]
    assert "lost" not in after
    assert "/home/pi/kept" in after
    pi.shut_down()
    refused = pi.ssh("true")
    assert (refused.returncode, "refused" in refused.stderr) == (255, True)
    pi.boot()


def test_a_board_falls_ill_while_it_runs(pi):
    reading = f"{BOOT_ID}; vcgencmd get_throttled; cat /sys/class/thermal/thermal_zone0/temp"
    well = pi.ssh(reading).stdout.split()
    pi.feel(HEALTH["hot"])
    ill = pi.ssh(reading).stdout.split()
    pi.feel(HEALTH["well"])
    assert well[1:] == ["throttled=0x0", "48300"]
    assert ill == [well[0], "throttled=0xe000e", "83100"]


@pytest.mark.slow
def test_an_ill_board_of_32_bits_with_little_disk_and_a_wrong_clock(tmp_path, board):
    (tmp_path / "large").write_bytes(os.urandom(2_000_000))
    with sshd.Pi(
        "rpi3b+", "armhf", sites=(), health=HEALTH["under-voltage"], disk_mb=1,
        clock_offset="-3000d",
    ) as pi:  # fmt: skip
        done = pi.ssh(
            "uname -m; vcgencmd get_throttled;"
            "python3 -c 'import time; print(time.gmtime().tm_year); import tflite_runtime'"
        )
        assert done.stdout.split()[:2] == ["armv7l", "throttled=0x50005"]
        assert int(done.stdout.split()[2]) < int(time.strftime("%Y")) - 7
        assert (done.returncode, "ModuleNotFoundError" in done.stderr) == (1, True)
        sent = scp(pi, tmp_path / "large", f"{sshd.HOST}:large")
        assert sent.returncode != 0
        assert "No space left" in pi.ssh("cat large > copy; head -c 2000000 /dev/zero > x").stderr
        pi.change_host_key()
        changed = pi.ssh("true")
        assert (changed.returncode, "IDENTIFICATION HAS CHANGED" in changed.stderr) == (255, True)


@pytest.mark.slow
def test_the_clock_jumps_under_a_running_program(board):
    code = (
        "import sys, time; print(time.time(), time.monotonic(), flush=True);"
        "sys.stdin.readline(); print(time.time(), time.monotonic())"
    )
    with sshd.Pi("rpi4b", clock_offset="+0", sites=()) as pi:
        command = ["ssh", "-F", str(pi.config), sshd.HOST, f"python3 -c '{code}'"]
        with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as program:
            before = program.stdout.readline().split()
            pi.machine.set_clock("+2d")
            program.stdin.write("\n")
            program.stdin.close()
            after = program.stdout.readline().split()
    wall, monotonic = (float(b) - float(a) for a, b in zip(before, after, strict=True))
    assert abs(float(before[0]) - time.time()) < 60
    assert wall - monotonic == pytest.approx(2 * 86400, abs=1)
    with pytest.raises(InputError, match="started with a true clock"):
        board.machine.set_clock("+2d")


@pytest.mark.slow
def test_runtimes_of_the_board_are_found(pi):
    code = "import onnxruntime, ai_edge_litert.interpreter, numpy; print(numpy.__version__)"
    done = pi.ssh(f"python3 -c '{code}'")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2.")


@pytest.mark.slow
def test_the_command_line_keeps_a_board_until_interrupted(board):
    command = [sys.executable, "-m", "firmware_bench.rehearsal.sshd", "--board", "rpi5"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as one:
        config = one.stdout.readline().split()[2]
        there = ["ssh", "-F", config, sshd.HOST, "grep -c 0xd0b /proc/cpuinfo || uname -m"]
        answer = subprocess.run(there, capture_output=True, text=True, timeout=60)
        one.send_signal(2)
        one.wait(timeout=30)
    assert "aarch64" in answer.stdout  # no grep on that board: the second half speaks
    assert one.returncode == 130
    assert not os.path.exists(os.path.dirname(config))


def test_an_unknown_board_is_refused_before_anything_starts():
    with pytest.raises(InputError, match="no rehearsal of this board"):
        sshd.Pi("nucleo-l4r5zi")
