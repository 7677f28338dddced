"""What ssh says when it fails, as one sentence with what to do; and whether waiting may help."""

from __future__ import annotations

import re
from dataclasses import dataclass

from targets.errors import InputError


class ConnectionLost(InputError):
    """The board does not answer now; it may come back (a reboot, a cable)."""


class HostRefused(InputError):
    """Waiting does not help: a key, a name, a right."""


@dataclass(frozen=True)
class _Fault:
    pattern: re.Pattern[str]
    what: str
    todo: str
    passing: bool = False


def _fault(pattern: str, what: str, todo: str, *, passing: bool = False) -> _Fault:
    return _Fault(re.compile(pattern, re.I), what, todo, passing)


#: In order: the first that matches is told.
_FAULTS = (
    _fault(
        "remote host identification has changed|host key for .* has changed",
        "the board's host key is not the known one",
        "If the board was set up anew, remove the old key with `ssh-keygen -R {name}` and connect"
        " once with `ssh {host}` to check the new one. If not, another machine answers there.",
    ),
    _fault(
        "host key verification failed|no .*host key is known",
        "the board's host key is not known",
        "Connect once with `ssh {host}`, compare the fingerprint with the board's, and accept it.",
    ),
    _fault(
        "permission denied|too many authentication failures|no supported authentication",
        "the board does not let us in",
        "Copy your key with `ssh-copy-id {host}`, or name user and key in ~/.ssh/config; passwords"
        " are not asked for.",
    ),
    _fault(
        "could not resolve hostname|name or service not known|temporary failure in name resolution"
        "|unknown host",
        "the board's name is not resolved",
        "Check the spelling; try raspberrypi.local, or the board's address.",
    ),
    _fault(
        "bad configuration option|no argument after keyword|unsupported option|can't open user"
        " config|bad owner or permissions",
        "ssh refuses its configuration",
        "Check the ssh options and the configuration file that were given.",
    ),
    _fault(
        "system is booting up|pam_nologin|connection refused", "the board refuses connections",
        "Is SSH switched on (`sudo raspi-config`, Interface Options), has the board started?",
        passing=True,
    ),
    _fault(
        "no route to host|network is unreachable|timed out|timeout", "the board is not reached",
        "Check its power and network.", passing=True,
    ),
    _fault(
        "closed by|connection reset|broken pipe|connection closed|not responding|lost connection"
        "|mux_client|control socket|kex_exchange_identification",
        "the connection was cut", "Check the board's power and network, and run again.",
        passing=True,
    ),
)  # fmt: skip


def explain(stderr: str, host: str) -> InputError:
    """Build the error for what ssh or scp wrote to stderr.

    Returns
    -------
    ConnectionLost
        If waiting may help.
    HostRefused
        If not.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip(" @\r")]
    name = host.rpartition("@")[2]
    for fault in _FAULTS:
        said = next((line for line in lines if fault.pattern.search(line)), None)
        if said is not None:
            kind = ConnectionLost if fault.passing else HostRefused
            todo = fault.todo.format(host=host, name=name)
            return kind(fault.what, where=host, value=said, todo=todo)
    said = lines[-1] if lines else "ssh ended without a word"
    return ConnectionLost(
        "the connection was cut", where=host, value=said,
        todo="Check the board's power and network, and run again.",
    )  # fmt: skip
