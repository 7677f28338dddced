"""Killed, out of space, replaced: one whole version always stands under the name."""

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from targets import swap
from targets.errors import InputError, disk_full, user_errors
from targets.files import DiskFullError, atomic_path, write_text


def fill(folder, word):
    """Make the folder's two files say `word`; whole means that both say the same."""
    folder.mkdir()
    (folder / "a.txt").write_text(word)
    (folder / "sub").mkdir()
    (folder / "sub" / "b.txt").write_text(word)


def whole(folder):
    """Return the word of both files."""
    words = {(folder / name).read_text() for name in ("a.txt", "sub/b.txt")}
    assert len(words) == 1
    return words.pop()


def replace(target, word):
    with atomic_path(target) as part:
        fill(part, word)


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_names_are_exchanged_in_one_step_here(tmp_path):
    fill(tmp_path / "one", "1")
    fill(tmp_path / "two", "2")
    assert swap._exchange(tmp_path / "one", tmp_path / "two")
    assert (whole(tmp_path / "one"), whole(tmp_path / "two")) == ("2", "1")


@pytest.mark.parametrize("code", [None, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP])
def test_a_folder_is_replaced_with_and_without_exchange(tmp_path, monkeypatch, code):
    class Libc:
        def renameat2(self, *args):
            swap.ctypes.set_errno(code)
            return -1

    if code is not None:
        monkeypatch.setattr(swap.ctypes, "CDLL", lambda *args, **kwargs: Libc())
    replace(tmp_path / "out", "old")
    replace(tmp_path / "out", "new")
    assert whole(tmp_path / "out") == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_an_exception_leaves_the_old_version_alone(tmp_path):
    replace(tmp_path / "out", "old")

    def broken():
        with atomic_path(tmp_path / "out") as part:
            fill(part, "new")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        broken()
    assert whole(tmp_path / "out") == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_second_rename_that_fails_takes_the_first_one_back(tmp_path):
    fill(tmp_path / "out", "old")
    with pytest.raises(OSError, match="No such file"):
        swap._two_renames(tmp_path / "part" / "out", tmp_path / "out")
    assert whole(tmp_path / "out") == "old"


def test_a_link_is_followed(tmp_path):
    fill(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    replace(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert whole(tmp_path / "real") == "new"


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path):
    fill(tmp_path / "out", "old")
    with pytest.raises(InputError, match="cannot take the place") as caught:
        write_text(tmp_path / "out", "new")
    assert caught.value.where == tmp_path / "out"
    assert whole(tmp_path / "out") == "old"


# --- killed ---------------------------------------------------------------------------------------

KILLED = textwrap.dedent("""
    import ctypes, os, signal, sys
    from pathlib import Path
    from targets import files, swap

    step, target, exchange = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "exchange"
    count = 0

    def dies(function):
        "Count the system calls that change something, and die right before number `step`."
        def call(*args, **kwargs):
            global count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call

    for name in ("mkdir", "rename", "replace", "fsync", "rmdir", "unlink", "close"):
        setattr(os, name, dies(getattr(os, name)))
    swap._exchange = dies(swap._exchange) if exchange else dies(lambda one, other: False)
    with files.atomic_path(target) as part:
        part.mkdir()
        (part / "a.txt").write_text("new")
        (part / "sub").mkdir()
        (part / "sub" / "b.txt").write_text("new")
    sys.exit(count)
""")


@pytest.mark.parametrize("how", ["exchange", "two renames"])
def test_killed_before_every_system_call(tmp_path, how):
    seen, missing, killed, step = set(), 0, True, 0
    while killed:
        step += 1
        out = tmp_path / str(step) / "out"
        out.parent.mkdir()
        replace(out, "old")
        answer = subprocess.run([sys.executable, "-S", "-c", KILLED, str(step), str(out), how])
        killed = answer.returncode == -signal.SIGKILL
        missing += not out.exists()
        if out.exists():
            seen.add(whole(out))
        else:  # the next call puts it back before it writes
            with atomic_path(out) as part:
                seen.add(whole(out))
                fill(part, "healed")
        replace(out, "next")
        assert whole(out) == "next"
        assert os.listdir(out.parent) == ["out"]
    assert seen == {"old", "new"}
    assert step > 8
    assert missing == (how == "two renames")


def leftover(target, *, seconds=30):
    """Start a process that works on `target`; returns it when its work folder stands."""
    code = (
        "import sys, time; from pathlib import Path; from targets.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as part:\n"
        f"    part.mkdir(); print('there', flush=True); time.sleep({seconds})\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "there\n"
    return process


def test_what_a_living_process_works_on_stays_and_that_of_a_killed_one_goes(tmp_path):
    process = leftover(tmp_path / "out")
    try:
        (work,) = hidden(tmp_path)
        replace(tmp_path / "out", "mine")
        assert hidden(tmp_path) == [work]
    finally:
        process.kill()
        process.wait()
    replace(tmp_path / "out", "mine again")
    assert hidden(tmp_path) == []


def test_a_leftover_whose_process_id_is_in_use_again_goes_too(tmp_path):
    old = tmp_path / f".out.{os.getpid()}-abcdefgh.part"
    fill(old, "?")
    replace(tmp_path / "out", "young: another thread may just have made it")
    assert old.exists()
    os.utime(old, (0, 0))
    replace(tmp_path / "out", "new")
    assert hidden(tmp_path) == []


def test_only_leftovers_of_the_same_name_go(tmp_path):
    others = [".out.json.99999999-abcdefgh.part", ".out.part", ".outer.abcdefgh.part", ".out"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".out.abcdefgh.part").mkdir()  # as earlier versions named them
    replace(tmp_path / "out", "new")
    assert sorted(hidden(tmp_path)) == sorted(others)


def test_two_threads_write_the_same_name(tmp_path):
    faults = []

    def work(word):
        try:
            for _ in range(10):
                replace(tmp_path / "out", word)
        except Exception as err:
            faults.append(err)

    threads = [threading.Thread(target=work, args=(str(k),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert whole(tmp_path / "out") in "0123"
    assert os.listdir(tmp_path) == ["out"]


# --- out of space ---------------------------------------------------------------------------------


def test_disk_full_names_the_output_and_leaves_the_old_version(tmp_path):
    replace(tmp_path / "out", "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DiskFullError) as caught:
            replace(tmp_path / "out", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.where == tmp_path / "out"
    assert "another disk" in str(caught.value)
    assert whole(tmp_path / "out") == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_native_errors_tell_it_by_their_text():
    wrapped = RuntimeError("[enforce fail] write failed: No space left on device (os error 28)")
    assert disk_full(wrapped) == "No space left on device"
    assert disk_full(InputError("No space left on device, says the user")) is None
    assert disk_full(OSError(errno.EACCES, "Permission denied")) is None


def test_the_command_line_says_it_in_one_sentence(capsys):
    with pytest.raises(SystemExit) as caught, user_errors("dlink-test"):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "dlink-test: error: /tmp/x: disk is full (found No space left on device). "
        "Free some space, or choose a folder on another disk.\n"
    )


def test_other_system_errors_keep_their_traceback():
    with pytest.raises(PermissionError), user_errors("dlink-test"):
        raise PermissionError(errno.EACCES, "Permission denied")
