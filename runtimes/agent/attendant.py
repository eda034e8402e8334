"""Pid 1 of a job's sandbox: one kernel on a socket, and a desk where its borrower asks for files, state and interrupts.

There is no supervisor: a job has one kernel that is never restarted, and nobody looks in but its borrower, who holds
the other ends of both sockets. Questions and answers are `wire` messages in packets.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from . import gauges as gauge
from . import kernel, linux, wire
from .desk import Refused
from .enclosure import HOME
from .files import Home
from .kernels import Kernel
from .mover import acknowledge, pull, push, refusing
from .packets import PACKET_BYTES, Assembler, split
from .process import close_all_but, ended_children, live_in_child, signal_group, tell

# The sockets are the borrower's alone: a signature has nothing to add.
NO_KEY = b""
Result = tuple[dict[str, Any], bytes]


class Attendant:
    """One thread. descriptors: the control group's memory files, where there are any, then the desk and the wire."""

    def __init__(self, owner: socket.socket, request: dict[str, Any], descriptors: Sequence[int]) -> None:
        self._owner = owner
        self._env: dict[str, str] = dict(request["env"])
        *gauges, desk, self._wire = descriptors
        self._desk = socket.socket(fileno=desk)
        self._gauges = gauge.Gauges.from_descriptors(gauges, request["memory_limit_bytes"])
        self._assembler = Assembler(wire.MAX_MESSAGE_BYTES)
        self._home = Home(HOME)
        self._kernel = Kernel(0, self._env, "")
        self._began = time.monotonic()
        self._ready = -1
        self._children, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._verbs: dict[str, Callable[[dict[str, Any], bytes], Result]] = {
            "status": self._status,
            "interrupt": self._interrupt,
            "push": lambda _header, payload: push(self._home, payload),
            "pull": lambda header, _payload: pull(self._home, header),
            "acknowledge": lambda header, _payload: acknowledge(self._home, header),
        }

    def serve(self) -> NoReturn:
        """Until the owner goes, or the borrower."""
        self._fork_kernel()
        hears = {
            self._owner.fileno(): self._hear_owner,
            self._desk.fileno(): self._hear_borrower,
            self._children: self._reap,
            self._ready: self._bound,
        }
        poll = select.poll()
        for descriptor in hears:
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _event in poll.poll():
                if descriptor == self._ready:
                    poll.unregister(descriptor)
                hears[descriptor]()

    def _fork_kernel(self) -> None:
        self._ready, told = os.pipe2(os.O_CLOEXEC)
        self._kernel.begin()
        pid = os.fork()
        if pid == 0:
            live_in_child(lambda: self._be_kernel(told))
        os.close(told)
        os.close(self._wire)
        self._kernel.pid = pid

    def _be_kernel(self, ready: int) -> NoReturn:
        close_all_but({0, 1, 2, ready, self._wire})
        # Its own /proc files belong to it again; when memory runs out it goes before pid 1.
        linux.prctl(linux.PR_SET_DUMPABLE, 1)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        order = {"index": 0, "env": self._env, "cwd": ""}
        kernel.become(order, ready, socket.socket(fileno=self._wire))

    def _bound(self) -> None:
        # Closed without a byte: it died on its way, and its status will say so.
        if os.read(self._ready, 1) and self._kernel.state == "starting":
            self._kernel.state = "idle"
        os.close(self._ready)
        tell(self._owner, {"ready": True})

    def _hear_owner(self) -> None:
        """It says nothing to a job that is under way but to end."""
        os._exit(0)

    def _hear_borrower(self) -> None:
        try:
            packet = self._desk.recv(PACKET_BYTES)
            frames = self._assembler.feed(packet) if packet else os._exit(0)
            if frames is None:
                return
            header, payload = wire.unpack(NO_KEY, frames)
            answer, body = self._answer(header, payload)
            for part in split(wire.pack(NO_KEY, {"id": header["id"], **answer}, body)):
                self._desk.send(part)
        except (OSError, ValueError, KeyError, wire.BadMessage):
            os._exit(0)

    def _answer(self, header: dict[str, Any], payload: bytes) -> Result:
        try:
            answer, body = refusing(lambda: self._verbs[header["verb"]](header, payload))
        except Refused as refusal:
            return {"ok": False, "code": refusal.code, "message": str(refusal)[:2000]}, b""
        return {"ok": True, **answer}, body

    def _status(self, _header: dict[str, Any], _payload: bytes) -> Result:
        return {
            "kernels": [self._kernel.describe()],
            **self._gauges.describe(),
            **gauge.of_home(),
            "idle_seconds": 0.0,
            "uptime_seconds": time.monotonic() - self._began,
            "ending": False,
        }, b""

    def _interrupt(self, _header: dict[str, Any], _payload: bytes) -> Result:
        if not self._kernel.pid:
            raise Refused("unknown-kernel", "the kernel does not run")
        signal_group(self._kernel.pid, signal.SIGINT)
        return {"kernel": self._kernel.describe()}, b""

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._children, 4096)
        for pid, status in ended_children(lambda pid: pid == self._kernel.pid):
            if pid == self._kernel.pid:
                self._kernel.end(status, out_of_memory=self._gauges.oom_kills() > 0)
