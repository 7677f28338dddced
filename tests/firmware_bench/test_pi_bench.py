"""The bench on a board behind a real sshd, and what happens to it on the way."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from artefacts import TFLITE
from pi_rig import artefact, crashing_runtime, this_machine
from sshd_rig import LoopbackBoard, needs_sshd

from firmware_bench.pi import held
from firmware_bench.pi.bench import bench, steps
from firmware_bench.pi.ssh_faults import ConnectionLost, HostRefused
from targets.errors import InputError

pytestmark = needs_sshd


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/dlink/pi"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return artefact(tmp_path_factory.mktemp("pi") / "artefact")


@pytest.fixture
def board(tmp_path):
    found = LoopbackBoard(tmp_path / "board")
    yield found
    found.stop()


def run(model, board, progress=lambda text: None, **options):
    return bench(model, this_machine(), "board", replace(board.options, **options), progress)


def by(found, **fields):
    return [m for m in found if all(getattr(m, k) == v for k, v in fields.items())]


def test_every_figure_comes_back_and_nothing_stays(model, board, own_cache):
    told = []
    record, found = run(model, board, told.append, threads=(1, 2))
    assert board.leftovers() == []
    assert list(own_cache.iterdir()) == []
    assert len(told) == steps(model, replace(board.options, threads=(1, 2)))
    for name in ("student", "teacher"):
        metrics = {m.metric: m for m in by(found, model=name, format="fp32.onnx")}
        times = {f"latency_{n}" for n in ("median", "p90", "p99", "worst", "jitter", "threads")}
        starts = {"cold_start", "runtime_import", "model_load", "first_inference"}
        hop = {"real_time_factor", "deadline_misses", "response_worst"}
        golden = {"golden_agreement", "golden_error"}
        assert set(metrics) == times | starts | hop | golden | {"peak_rss", "model_rss"}
        assert {m.evidence for m in metrics.values()} == {"measured"}
        assert metrics["golden_agreement"].value == 1.0
        assert metrics["cold_start"].value > metrics["runtime_import"].value
        assert metrics["latency_threads"].runtime.endswith("2 threads")
    (ratio,) = by(found, metric="latency_ratio", format="fp32.onnx")
    assert ratio.value > 1
    assert {f.rule for f in record.environment.faults} >= {"wrong-board", "throttling-unknown"}


def when(steps_done, act):
    """A progress that acts once, after so many steps of the run."""
    seen = []

    def progress(text):
        seen.append(text)
        if len(seen) == steps_done:
            act()

    return progress


VCGENCMD = """#!/bin/sh
case "$1" in
get_throttled) echo throttled=0x20002;;
measure_clock) echo "frequency(48)=1500398464";;
pmic_read_adc) printf ' VDD_CORE_A current(7)=2.0A\\n VDD_CORE_V volt(15)=0.8V\\n';;
esac
"""


@pytest.mark.slow
def test_the_firmwares_own_readings_energy_and_minutes_of_load(model, board):
    tool = board.home / "bin/vcgencmd"
    tool.write_text(VCGENCMD)
    tool.chmod(0o755)
    told = []
    options = {"energy_s": 4.0, "sustained_s": 1.0}
    record, found = run(model, board, told.append, **options)
    assert len(told) == steps(model, replace(board.options, **options))
    faults = {fault.rule: fault.text for fault in record.environment.faults}
    assert "before the run: frequency capped" in faults["throttled-now"]
    assert record.environment.facts["before"]["frequency_mhz"] == pytest.approx(1500.4, abs=0.1)
    energies = by(found, metric="energy")
    assert len(energies) == len(by(found, metric="latency_median"))
    assert all(one.value == pytest.approx(0.0, abs=1e-9) for one in energies)  # idle has 1.6 W too
    assert "1.60 W against 1.60 W" in energies[0].note
    (late,) = by(found, metric="latency_sustained")
    assert late.model == "student"
    assert board.leftovers() == []


@pytest.mark.slow
def test_a_cut_connection_is_taken_up_again_and_no_round_is_run_twice(model, board):
    told = []
    cut = when(7, board.cut)
    record, found = run(model, board, lambda text: (told.append(text), cut(text)))
    assert by(found, metric="latency_median", model="student", format="fp32.onnx")[0].value
    rounds = [text for text in told if text.startswith("round:")]
    assert len(rounds) == len(set(rounds)) == board.options.runs
    assert sum("connecting again" in text for text in told) == 1
    notes = record.environment.facts["notes"]
    assert "started 2 times" in notes["resumed"]
    assert "connection cut after" in notes["host-0"]
    assert board.leftovers() == []


@pytest.mark.slow
def test_a_board_that_restarts_is_waited_for(model, board):
    def restart():
        board.power_off()
        threading.Timer(3.0, board.start).start()

    record, found = run(model, board, when(8, restart))
    assert by(found, metric="latency_median", model="teacher")[0].value
    assert "resumed" in record.environment.facts["notes"]
    assert board.leftovers() == []  # what the killed keeper left, too


@pytest.mark.slow
def test_a_board_that_stays_away_is_a_clear_error_and_nothing_measured_is_lost(
    model, board, own_cache
):
    with pytest.raises(ConnectionLost, match="refuses connections") as caught:
        run(model, board, when(8, board.power_off), reconnect_s=1.0)
    assert "steps are kept: the same command goes on" in str(caught.value)
    (journal,) = own_cache.glob("*.jsonl")
    before = journal.read_text().count('"key":"round:')
    board.start()
    told = []
    run(model, board, told.append)
    assert sum(text.startswith("round:") for text in told) == board.options.runs - before
    assert board.leftovers() == []


def test_an_old_journal_is_not_gone_on_with(own_cache):
    def cut_short():
        with held.journal("digest", "board") as path:
            path.write_text("line\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        cut_short()
    (path,) = own_cache.glob("*.jsonl")
    os.utime(path, (time.time() - 2 * held.KEPT_S,) * 2)
    with held.journal("digest", "board") as again:
        assert again == path
        assert not path.exists()


def test_one_job_is_not_done_twice_at_once(own_cache):
    twice = held.journal("digest", "board")
    with (
        held.journal("digest", "board"),
        pytest.raises(InputError, match="being done on this board already"),
    ):
        twice.__enter__()


def test_a_full_disk_is_told_with_its_room(model, tmp_path):
    board = LoopbackBoard(tmp_path / "board")
    board.stop()
    (board.home / ".cache").mkdir()
    mount = f"mount -t tmpfs -o size=3m tmpfs {board.home}/.cache"
    try:
        board.start(prefix=("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"))
    except RuntimeError:
        pytest.skip("skipped: no mount namespaces for this user")
    try:
        with pytest.raises(InputError, match=r"disk is full \(found \d+ MiB free, allowed \d+ MiB"):
            run(model, board)
        assert board.leftovers() == []
    finally:
        board.stop()


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_run_is_told_too(model, tmp_path):
    board = LoopbackBoard(tmp_path / "board")
    board.stop()
    (board.home / ".cache").mkdir()
    mount = f"mount -t tmpfs -o size=48m tmpfs {board.home}/.cache"
    try:
        board.start(prefix=("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"))
    except RuntimeError:
        pytest.skip("skipped: no mount namespaces for this user")
    inside = Path(f"/proc/{board.pid}/root{board.home}/.cache/ballast")

    def fill():
        with pytest.raises(OSError, match="No space left"):
            inside.write_bytes(bytes(64 * 2**20))

    try:
        with pytest.raises(InputError, match="disk is full"):
            run(model, board, when(5, fill))
        assert board.leftovers() == []
    finally:
        board.stop()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_host_that_is_interrupted_or_killed_leaves_nothing_anywhere(board, tmp_path, number):
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nfrom pi_rig import artefact, this_machine, QUICK\n"
        "from dataclasses import replace\nfrom firmware_bench.pi.bench import bench\n"
        f"options = replace(QUICK, ssh_config=Path({str(board.root / 'ssh_config')!r}))\n"
        f"model = artefact(Path({str(tmp_path / 'artefact')!r}))\n"
        "bench(model, this_machine(), 'board', options, lambda text: print(text, flush=True))\n"
    )
    # A process that is killed cannot remove its temporary folder; the path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="d") as short:
        killed_after_the_first_model(script, number, short)
    assert board.leftovers() == []
    assert not board.clients()


def killed_after_the_first_model(script, number, temporary):
    process = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "TMPDIR": temporary},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("alone:"):
            process.send_signal(number)
            break
    process.stdout.read()
    assert process.wait(30) != 0


def test_another_architecture_is_refused_before_anything_is_copied(model, board):
    target = this_machine().model_copy(update={"isa": "dsp"})
    with pytest.raises(InputError, match="another architecture than the target's"):
        bench(model, target, "board", board.options)
    assert board.leftovers() == []


def test_a_missing_runtime_is_told_with_what_was_looked_for(model, tmp_path):
    board = LoopbackBoard(tmp_path / "board", python="/usr/bin/python3 -S")
    try:
        with pytest.raises(InputError) as caught:
            run(model, board)
    finally:
        board.stop()
    text = str(caught.value)
    for word in ("numpy", "onnxruntime", "tflite-runtime", "--prepare", "pip install"):
        assert word in text


def test_no_python_and_one_that_is_not_there(model, board):
    board.python(None)
    with pytest.raises(InputError, match="no Python on the board"):
        run(model, board, python="/opt/none/python3; echo")
    assert board.leftovers() == []


OLD = next(iter(sorted(Path.home().glob(".pyenv/versions/3.[678].*/bin/python"))), None)


@pytest.mark.skipif(OLD is None, reason="skipped: no old Python on this machine")
def test_a_python_that_is_too_old(model, board):
    board.python(str(OLD))
    with pytest.raises(InputError, match=r"too old \(found 3\.\d+\.\d+, allowed 3\.9 or later\)"):
        run(model, board)


def test_another_host_key_is_refused_with_what_to_do(model, board):
    board.know(board.root / "other_key.pub")
    with pytest.raises(HostRefused, match="host key is not the known one") as caught:
        run(model, board)
    assert "ssh-keygen -R board" in str(caught.value)


def test_an_unknown_host_key_is_refused(model, board):
    (board.root / "known_hosts").write_text("")
    with pytest.raises(HostRefused, match="host key is not known"):
        run(model, board)


@pytest.mark.slow
def test_a_clock_that_jumps_is_noted_and_takes_nothing_from_the_times(model, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import time\nreal, calls = time.time, [0]\n"
        "def jumping():\n    calls[0] += 1\n    return real() + (3600 if calls[0] > 4 else 0)\n"
        "time.time = jumping\n"
    )
    board = LoopbackBoard(tmp_path / "board", f"export PYTHONPATH={site}")
    try:
        record, found = run(model, board)
    finally:
        board.stop()
    assert "jumped by +3600.0 s" in record.environment.facts["notes"]["clock-jump"]
    assert max(m.value for m in by(found, unit="ms")) < 60_000


@pytest.mark.slow
@pytest.mark.skipif(not TFLITE.exists(), reason="skipped: no data")
def test_a_model_that_crashes_has_its_signal_and_the_others_their_figures(model, tmp_path):
    site = crashing_runtime(tmp_path / "site")
    board = LoopbackBoard(tmp_path / "board", f"export PYTHONPATH={site}")
    try:
        _, found = run(model, board)
        assert board.leftovers() == []
    finally:
        board.stop()
    (crashed,) = by(found, metric="latency_median", runtime="tflite-runtime 2.14.0")
    assert crashed.value is None
    assert "SIGSEGV" in crashed.reason
    medians = [m for m in by(found, metric="latency_median") if m.value is not None]
    assert len(medians) == 3


def test_an_emulator_gives_no_milliseconds(model, tmp_path):
    board = LoopbackBoard(tmp_path / "board", "export DLINK_EMULATED=1")
    try:
        record, found = run(model, board)
    finally:
        board.stop()
    assert not [m for m in found if m.unit == "ms" and m.value is not None]
    assert {m.evidence for m in found} == {"emulated"}
    assert by(found, metric="golden_agreement", model="teacher")[0].value == 1.0
    assert record.environment.faults[0].rule == "emulated"
