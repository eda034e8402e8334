"""How a supervisor gets kernel processes: forked by pid 1 of a local sandbox, or started as programs (strict, pods)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .layout import MAX_KERNELS

MAX_MESSAGE_BYTES = 1 << 18
#: How long kernels may take to end, where nobody else sees to that.
END_SECONDS = 20.0


@dataclass(frozen=True)
class Started:
    """Kernel `index` is process `pid`."""

    index: int
    pid: int


@dataclass(frozen=True)
class Failed:
    """Kernel `index` could not be started."""

    index: int
    message: str


@dataclass(frozen=True)
class Exited:
    """Process `pid` ended; status is negative for a signal."""

    pid: int
    status: int


News = Started | Failed | Exited


@dataclass(frozen=True)
class Before:
    """What a supervisor finds: student code may have killed the one before it. running: index → pid; ended: index →
    status; first: there was none before."""

    running: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    first: bool = True


def _before(record: Path | None) -> Before:
    """What ran when this program was last killed, with all its kernels; student code may have written there."""
    if record is None or not record.exists():
        return Before()
    try:
        ended = {index: -signal.SIGKILL for index in json.loads(record.read_text()) if index in range(MAX_KERNELS)}
    except (OSError, ValueError, TypeError):
        ended = {}
    return Before(ended=ended, first=False)


class Spawner(Protocol):
    """All that a supervisor needs of processes. News can be read when `fileno()` is readable."""

    before: Before

    def fileno(self) -> int:
        """A descriptor to poll."""

    def start(self, order: dict[str, Any], ready: int) -> None:
        """Starts the kernel of `order`, which writes to `ready` (closed here) once its sockets exist."""

    def signal(self, pid: int, number: int, *, group: bool) -> None:
        """Signals a kernel or its whole process group; nothing happens if it is gone."""

    def news(self) -> list[News]:
        """What happened. Raises EOFError when there will be no more and the supervisor should end."""

    def tell_owner(self, message: dict[str, Any]) -> None:
        """Passes a message to whoever started the runtime, where there is a way."""


class InitSpawner:
    """Asks pid 1, which is a warm interpreter, to fork."""

    def __init__(self, link: socket.socket, before: Before) -> None:
        self._link = link
        self.before = before

    def fileno(self) -> int:
        return self._link.fileno()

    def start(self, order: dict[str, Any], ready: int) -> None:
        try:
            socket.send_fds(self._link, [json.dumps({"do": "fork", **order}).encode()], [ready])
        finally:
            os.close(ready)

    def signal(self, pid: int, number: int, *, group: bool) -> None:
        self._send({"do": "signal", "pid": pid, "signal": int(number), "group": group})

    def news(self) -> list[News]:
        data = self._link.recv(MAX_MESSAGE_BYTES)
        if not data:
            raise EOFError("pid 1 is gone")
        message = json.loads(data)
        if message["did"] == "fork":
            return [Started(message["index"], message["pid"])]
        if message["did"] == "exit":
            return [Exited(message["pid"], message["status"])]
        return [Failed(message["index"], message["message"])]

    def tell_owner(self, message: dict[str, Any]) -> None:
        self._send({"do": "tell", "message": message})

    def _send(self, message: dict[str, Any]) -> None:
        self._link.send(json.dumps(message).encode())


class ProgramSpawner:
    """Starts each kernel as a program of its own, with a fresh interpreter.

    record: a file that says which kernels run, where this process may end, with them, and be started again (pods)."""

    def __init__(self, owner: socket.socket | None = None, record: Path | None = None) -> None:
        self._record = record
        self.before = _before(record)
        self._owner = owner
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._indices: dict[int, int] = {}
        self._news: list[News] = []
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        if owner is not None:
            threading.Thread(target=self._hear_owner, args=(owner,), daemon=True).start()

    def fileno(self) -> int:
        return self._wake_read

    def start(self, order: dict[str, Any], ready: int) -> None:
        descriptor, order_file = tempfile.mkstemp(prefix=".order-")
        with os.fdopen(descriptor, "w") as handle:
            json.dump(order, handle)
        role = "relay" if order["kernelspec"] else "kernel"
        command = [sys.executable, "-I", sys.argv[0], role, order_file, str(ready)]
        try:
            process = subprocess.Popen(command, pass_fds=[ready], start_new_session=True, stdin=subprocess.DEVNULL)
        except OSError as error:
            self._add(Failed(order["index"], str(error)))
            return
        finally:
            os.close(ready)
        self._processes[process.pid] = process
        self._indices[process.pid] = order["index"]
        self._note()
        self._add(Started(order["index"], process.pid))
        threading.Thread(target=self._wait, args=(process,), daemon=True).start()

    def signal(self, pid: int, number: int, *, group: bool) -> None:
        process = self._processes.get(pid)
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            if group:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)

    def news(self) -> list[News]:
        with suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        with self._lock:
            news, self._news = self._news, []
        return news

    def tell_owner(self, message: dict[str, Any]) -> None:
        if self._owner is not None:
            with suppress(OSError):
                self._owner.send(json.dumps(message).encode())

    def _hear_owner(self, owner: socket.socket) -> None:
        """Ends the runtime with its owner, or when the owner asks and the last kernel has ended."""
        while data := owner.recv(MAX_MESSAGE_BYTES):
            if "terminate" in json.loads(data):
                self._end_kernels(None)
                break
        os._exit(0)

    def end(self, status: int) -> None:
        """Ends the runtime in good order, with this exit status: soon, and not on this thread."""
        threading.Thread(target=self._end, args=(status,), daemon=True).start()

    def _end(self, status: int) -> None:
        self._end_kernels(END_SECONDS)
        os._exit(status)

    def _end_kernels(self, seconds: float | None) -> None:
        """SIGTERM for every kernel; returns when they have ended, at the latest after so many seconds."""
        processes = list(self._processes.values())
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        until = None if seconds is None else time.monotonic() + seconds
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(None if until is None else max(until - time.monotonic(), 0))

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        # What the kernel left behind in its group goes with it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        self._indices.pop(process.pid, None)
        self._note()
        self._add(Exited(process.pid, status))
        self._processes.pop(process.pid, None)

    def _note(self) -> None:
        if self._record is not None:
            with self._lock, suppress(OSError):
                self._record.write_text(json.dumps(sorted(self._indices.values())))

    def wake(self) -> None:
        """Makes `fileno()` readable, whether or not there are news. Safe in a signal's handler."""
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"1")

    def _add(self, news: News) -> None:
        with self._lock:
            self._news.append(news)
        self.wake()
