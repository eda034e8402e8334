"""The embedded bus: every listener has a Unix datagram socket in `RUN_DIR`/bus, every message goes to all of them.

A socket whose process died is swept by the first message that finds nobody behind it. A message too large for a
datagram goes into a file beside the sockets, and its name in the datagram.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from django.conf import settings

from runtimes.buses import Listener, Subscriber

# Well below net.core.wmem_default (212,992 bytes), which bounds a datagram.
MOST_BYTES = 64 * 1024
# net.unix.max_dgram_qlen is 10 on many systems: a burst has to wait for the receiver's next turn.
PATIENCE_SECONDS = 0.05
PAUSE_SECONDS = 0.001
PARCEL_SECONDS = 60.0
SUFFIX = ".sock"
PLAIN, PARCEL = b"m", b"p"


def folder() -> Path:
    """Where the sockets are; made on first use, closed to other users."""
    path = Path(settings.RUN_DIR) / "bus"
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


@cache
def _short(path: str) -> str:
    # sun_path ends at 107 bytes (unix(7)); by way of a descriptor of the folder every path is short.
    return f"/proc/self/fd/{os.open(path, os.O_RDONLY | os.O_DIRECTORY)}"


@cache
def _sender(process: int) -> socket.socket:
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sender.setblocking(False)
    atexit.register(sender.close)
    return sender


def _encode(topic: str, payload: bytes) -> bytes:
    name = topic.encode()
    if len(name) + len(payload) < MOST_BYTES:
        return PLAIN + name + b"\0" + payload
    _sweep_parcels()
    parcel = f"{secrets.token_hex(12)}.parcel"
    (folder() / parcel).write_bytes(payload)
    return PARCEL + name + b"\0" + parcel.encode()


def _decode(message: bytes) -> tuple[str, bytes]:
    name, payload = message[1:].split(b"\0", 1)
    if message[:1] == PARCEL:
        # A parcel that is gone was on the way for a minute: its topic still wakes.
        try:
            payload = (folder() / Path(payload.decode()).name).read_bytes()
        except FileNotFoundError:
            payload = b""
    return name.decode(), payload


def _sweep_parcels() -> None:
    oldest = time.time() - PARCEL_SECONDS
    for parcel in folder().glob("*.parcel"):
        with suppress(FileNotFoundError):
            if parcel.stat().st_mtime < oldest:
                parcel.unlink()


def _attempts(topic: str, payload: bytes) -> Iterator[list[str]]:
    """Sends to every socket; yields who is too busy to take it, and tries these again when asked to go on."""
    message = _encode(topic, payload)
    waiting = [path.name for path in folder().iterdir() if path.name.endswith(SUFFIX)]
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        waiting = [name for name in waiting if not _delivered(name, message)]
        if not waiting or time.monotonic() > end:
            return
        yield waiting


def _delivered(name: str, message: bytes) -> bool:
    """False if the receiver's queue is full."""
    place = folder()
    try:
        _sender(os.getpid()).sendto(message, f"{_short(str(place))}/{name}")
    except BlockingIOError:
        return False
    except (ConnectionRefusedError, FileNotFoundError):
        (place / name).unlink(missing_ok=True)
    except OSError as error:
        if error.errno == errno.ENOBUFS:
            return False
        raise
    return True


def send(topic: str, payload: bytes) -> None:
    """To every listener; gives up on one whose queue stays full."""
    for _busy in _attempts(topic, payload):
        time.sleep(PAUSE_SECONDS)


async def send_async(topic: str, payload: bytes) -> None:
    """`send` that leaves the event loop free."""
    for _busy in _attempts(topic, payload):
        await asyncio.sleep(PAUSE_SECONDS)


class DatagramListener(Listener):
    """Reads this event loop's socket."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._path = folder() / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(f"{_short(str(folder()))}/{self._path.name}")
        self._loop.add_reader(self._socket, self._readable)

    def _readable(self) -> None:
        while True:
            try:
                message = self._socket.recv(MOST_BYTES + 1024)
            except BlockingIOError:
                return
            except OSError:
                return
            with suppress(ValueError):
                self.fan_out(*_decode(message))

    def changed(self) -> None:
        """Nothing to do: every socket gets everything."""

    async def ready(self, subscriber: Subscriber) -> None:
        """At once: the socket is bound."""

    async def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)
