"""Wires between actors, over which results go straight from one to another.

Ray's object store would carry them too, but a megabyte takes 2 to 5 ms of two busy cores there, and
half a millisecond here (``docs/design/decisions.md``). Between processes of one machine they lead
through its loopback.
"""

import contextlib
import hmac
import io
import pickle
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

_SIZES = struct.Struct("!II")
"""Length of the pickle, and number of buffers behind it; the length of each comes first."""
_SIZE = struct.Struct("!Q")

_BUFFER_BYTES = 4 << 20
"""What fits is sent without waiting for the other end; the system may grant less."""


class Wires:
    """Sends messages to other actors; calls ``arrived`` with what comes, on a thread for each."""

    def __init__(self, host: str, arrived: Callable[[Any], None]) -> None:
        """Listen on ``host``, this machine's address as the others know it."""
        self._arrived = arrived
        self._server = socket.create_server((host, 0))
        self._token = b""
        self._peers: list[tuple[str, int]] = []
        self._open: dict[int, socket.socket] = {}
        self._heard: list[socket.socket] = []
        self._sending = threading.Lock()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where others reach this actor."""
        host, port, *_ = self._server.getsockname()
        return host, port

    def connect(self, peers: list[tuple[str, int]], token: bytes) -> None:
        """Get to know all actors, in the order of their numbers, and the word that they share."""
        self._peers, self._token = peers, token
        threading.Thread(target=self._accept, name="simbench-wires", daemon=True).start()

    def send(self, peer: int, message: Any) -> None:
        """Send ``message``, whose tensors may lie on any device.

        Raises:
            OSError: the other actor has ended.
        """
        buffers: list[pickle.PickleBuffer] = []
        pickled = io.BytesIO()
        _Pickler(pickled, protocol=5, buffer_callback=buffers.append).dump(message)
        views = [each.raw() for each in buffers]
        head = pickled.getvalue()
        sizes = [_SIZES.pack(len(head), len(views)), *(_SIZE.pack(each.nbytes) for each in views)]
        with self._sending:
            if peer not in self._open:
                self._open[peer] = self._dial(self._peers[peer])
            self._open[peer].sendall(b"".join([*sizes, head]))
            for view in views:
                self._open[peer].sendall(view)

    def close(self) -> None:
        """Hang up."""
        for each in [self._server, *self._open.values(), *self._heard]:
            with contextlib.suppress(OSError):  # the other end may have hung up first
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
            each.close()

    def _dial(self, address: tuple[str, int]) -> socket.socket:
        wire = socket.create_connection(address)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        wire.sendall(self._token)
        return wire

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._server.accept()
            except OSError:
                return  # closed
            self._heard.append(wire)
            threading.Thread(
                target=self._receive, args=(wire,), name="simbench-wire", daemon=True
            ).start()

    def _receive(self, wire: socket.socket) -> None:
        # An error or the end: the other actor has ended, of which the driver hears.
        with wire, contextlib.suppress(OSError, EOFError):
            if not hmac.compare_digest(_read(wire, len(self._token)), self._token):
                return
            while True:
                length, count = _SIZES.unpack(_read(wire, _SIZES.size))
                sizes = [_SIZE.unpack(_read(wire, _SIZE.size))[0] for _ in range(count)]
                head = _read(wire, length)
                buffers = [_read(wire, size) for size in sizes]
                self._arrived(pickle.loads(head, buffers=buffers))  # noqa: S301 - it has the token


class _Pickler(pickle.Pickler):
    """Leaves the numbers of tensors where they are, so that they are copied by the network only."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            here = value.detach().cpu()
            # NumPy has no such type.
            bfloat16 = here.dtype == torch.bfloat16
            array = (here.view(torch.int16) if bfloat16 else here).numpy()
            return _tensor, (array, str(value.device), bfloat16)
        return NotImplemented


def _tensor(array: np.ndarray[Any, Any], device: str, bfloat16: bool) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return (tensor.view(torch.bfloat16) if bfloat16 else tensor).to(device)


def _read(wire: socket.socket, size: int) -> memoryview:
    buffer = np.empty(size, np.uint8).data
    done = 0
    while done < size:
        # In one call where possible: each that returns has to wait for Python's lock.
        got = wire.recv_into(buffer[done:], flags=socket.MSG_WAITALL)
        if not got:
            raise EOFError
        done += got
    return buffer
