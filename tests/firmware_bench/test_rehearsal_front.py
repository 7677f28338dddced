"""The board's network: a port that carries, cuts, stalls and refuses."""

import contextlib
import socket
import threading
import time

import pytest

from firmware_bench.rehearsal.front import Fault, Front


def echo(end):
    with end, contextlib.suppress(OSError):
        while data := end.recv(65536):
            end.sendall(data)


@pytest.fixture
def front():
    one = Front(echo)
    one.listen()
    yield one
    one.refuse()


def connect(front):
    client = socket.create_connection(("127.0.0.1", front.port), timeout=10)
    client.settimeout(10)
    return client


def received(client, n):
    data = b""
    with contextlib.suppress(ConnectionError):
        while len(data) < n and (more := client.recv(n - len(data))):
            data += more
    return data


def test_bytes_pass_both_ways_and_an_end_is_passed_on(front):
    sent = bytes(range(256)) * 4000
    with connect(front) as client:
        threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(1))).start()
        assert received(client, len(sent) + 1) == sent


def test_connections_stand_side_by_side(front):
    with connect(front) as one, connect(front) as two:
        one.sendall(b"one")
        two.sendall(b"two")
        assert (received(two, 3), received(one, 3)) == (b"two", b"one")


def test_cut_after_bytes(front):
    front.fault = Fault(after_bytes=1000)
    with connect(front) as client:
        client.sendall(b"a" * 400)
        assert received(client, 400) == b"a" * 400  # 800 bytes went through
        client.sendall(b"a" * 400)
        assert received(client, 400) == b""


def test_cut_after_seconds_without_a_byte(front):
    front.fault = Fault(after_s=0.2)
    began = time.monotonic()
    with connect(front) as client:
        assert received(client, 1) == b""
    assert 0.1 < time.monotonic() - began < 5


def test_a_stalled_connection_stays_open_and_silent(front):
    front.fault = Fault(after_bytes=0, stall=True)
    with connect(front) as client:
        client.sendall(b"hello")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_refused_while_down_and_back_on_the_same_port(front):
    port = front.port
    with connect(front) as client:
        client.sendall(b"x")
        assert received(client, 1) == b"x"
        front.refuse()
        assert received(client, 1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(front)
    front.listen()
    assert front.port == port
    with connect(front) as client:
        client.sendall(b"back")
        assert received(client, 4) == b"back"


def test_a_fault_strikes_only_connections_made_after_it(front):
    with connect(front) as old:
        old.sendall(b"x")
        assert received(old, 1) == b"x"
        front.fault = Fault(after_bytes=1)
        old.sendall(b"x" * 100)
        assert received(old, 100) == b"x" * 100
