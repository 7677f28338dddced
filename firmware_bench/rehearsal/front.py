"""The board's network: a port on this machine whose connections can be cut, stalled or refused."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_CHUNK = 65536
#: How often a waiting thread looks whether it is to end.
_TICK_S = 0.1
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: closing resets the connection


@dataclass(frozen=True)
class Fault:
    """What happens to a connection.

    Attributes
    ----------
    after_bytes : int or None
        Once so many bytes went through, both directions together.
    after_s : float or None
        Once it lasted so long.
    stall : bool
        It stays open and silent, as when a cable is pulled; else it is reset.
    """

    after_bytes: int | None = None
    after_s: float | None = None
    stall: bool = False

    def due(self, n_bytes: int, seconds: float) -> bool:
        """Whether it strikes a connection that carried `n_bytes` and lasted `seconds`."""
        return (self.after_bytes is not None and n_bytes >= self.after_bytes) or (
            self.after_s is not None and seconds >= self.after_s
        )


class Front:
    """Listens on a free port of the loopback and joins each connection to a server's socket.

    Parameters
    ----------
    serve : callable
        Gets the server's end of a connection and returns when it may be forgotten; called once a
        connection, in a thread of its own.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self.fault: Fault | None = None
        self.port = 0
        self._listener: socket.socket | None = None
        self._connections: set[_Connection] = set()

    def listen(self) -> None:
        """Accept connections, on the same port as before if it listened once."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        listener.settimeout(_TICK_S)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Listen no more (connections are refused) and reset those that stand."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.shutdown(socket.SHUT_RDWR)  # at once, though a thread waits on it
            listener.close()
        self.reset()

    def reset(self) -> None:
        """Reset the connections that stand."""
        for connection in list(self._connections):
            connection.end(reset=True)

    def _accept(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:  # closed meanwhile
                return
            client.setblocking(True)
            ours, theirs = socket.socketpair()
            threading.Thread(target=self._serve, args=(theirs,), daemon=True).start()
            connection = _Connection(client, ours, self.fault, self._connections.discard)
            self._connections.add(connection)
            connection.start()


class _Connection:
    """Two sockets joined, until one side ends or the fault strikes."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        fault: Fault | None,
        ended: Callable[[_Connection], None],
    ) -> None:
        self._client, self._server, self._fault, self._ended = client, server, fault, ended
        self._began, self._bytes = time.monotonic(), 0
        self._closed = threading.Event()

    def start(self) -> None:
        pairs = ((self._client, self._server), (self._server, self._client))
        for source, sink in pairs:
            threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()
        if self._fault is not None and self._fault.after_s is not None:
            threading.Thread(target=self._watch, daemon=True).start()

    def end(self, *, reset: bool) -> None:
        """Close both sides; the client's by a reset if so told."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._ended(self)
        if reset:
            with contextlib.suppress(OSError):
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        for end in (self._client, self._server):
            # A reader that waits in another thread holds a socket open: wake it first.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                self._bytes += len(data)
                if self._struck():
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
            if source is self._server:  # the server has said all and is gone
                self.end(reset=False)
            return
        self.end(reset=False)

    def _watch(self) -> None:
        while not self._closed.wait(_TICK_S):
            if self._struck():
                return

    def _struck(self) -> bool:
        lasted = time.monotonic() - self._began
        if self._fault is None or not self._fault.due(self._bytes, lasted):
            return False
        if not self._fault.stall:
            self.end(reset=True)
        return True
