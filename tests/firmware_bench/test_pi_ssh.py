"""Hosts that are none, and the words of ssh turned into what to do."""

import pytest

from firmware_bench.pi.options import PiOptions
from firmware_bench.pi.session import keeper_script
from firmware_bench.pi.ssh import Ssh, checked_host
from firmware_bench.pi.ssh_faults import ConnectionLost, HostRefused, explain
from targets.errors import InputError


@pytest.mark.parametrize("host", ["pi@raspberrypi.local", "pi", "10.0.0.7", "pi@fe80::1%eth0"])
def test_hosts_as_ssh_takes_them(host):
    assert checked_host(host) == host


@pytest.mark.parametrize(
    "host", ["", "-oProxyCommand=touch x", "a b", "pi;reboot", "$(id)", "pi\n", "`id`"]
)
def test_what_is_no_host_never_reaches_ssh(host):
    with pytest.raises(InputError, match="not a host"):
        Ssh(host, "true")


@pytest.mark.parametrize("option", ["-F/etc", "", "Port", "a\nb=1"])
def test_options_are_key_and_value(option):
    with pytest.raises(InputError, match="not an ssh option"):
        Ssh("pi", "true", options=[option])


def test_a_configuration_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="ssh configuration not found"):
        Ssh("pi", "true", config=tmp_path / "none")


def test_a_name_that_nobody_has():
    with pytest.raises(HostRefused, match="name is not resolved"):
        Ssh("no-such-board.invalid", "true", connect_s=5)


def test_a_port_that_nobody_listens_on():
    with pytest.raises(ConnectionLost, match="refuses connections"):
        Ssh("127.0.0.1", "true", options=["Port=1"], connect_s=5)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("pi@board: Permission denied (publickey,password).", HostRefused, "ssh-copy-id pi@board"),
        ("@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@\nHost key verification"
         " failed.", HostRefused, "ssh-keygen -R board"),
        ("ssh: connect to host board port 22: No route to host", ConnectionLost, "power and net"),
        ("System is booting up. Unprivileged users are not permitted to log in yet.\n"
         "Connection closed by 10.0.0.7", ConnectionLost, "refuses connections"),
        ("Timeout, server board not responding.", ConnectionLost, "board"),
        ("client_loop: send disconnect: Broken pipe", ConnectionLost, "connection was cut"),
        ("", ConnectionLost, "connection was cut"),
    ],
)  # fmt: skip
def test_what_ssh_says_becomes_what_to_do(said, kind, words):
    error = explain(said, "pi@board")
    assert isinstance(error, kind)
    assert words in str(error)


def test_an_interpreters_name_is_one_word_on_the_board():
    script = keeper_script("/opt/py; rm -rf ~")
    assert "for p in '/opt/py; rm -rf ~'; do" in script


@pytest.mark.parametrize(
    "wrong", [{"runs": 0}, {"threads": ()}, {"threads": (0,)}, {"hop_s": 0.0}, {"hop_s": -1.0}]
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError):
        PiOptions(**wrong)
