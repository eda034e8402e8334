"""Pid 1 of a sandbox, a fork of the warm fork server: puts up the walls, forks the supervisor and, on its request,
kernels; reaps; tells the owner. When it exits everything inside dies, and it exits when the owner is gone.

Messages are JSON on sequenced-packet sockets. From the owner: the request (once, with descriptors of the control
group's memory files), then `terminate`. To the owner: `hello`, `walls`, `ready`, `error`, `exit`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import attendant, enclosure, kernel, linux, relay, supervisor
from .gauges import Gauges
from .process import (
    MAX_MESSAGE_BYTES,
    close_all_but,
    ended_children,
    live_in_child,
    replace_standard_streams,
    signal_group,
    tell,
)
from .spawner import Before, InitSpawner

if TYPE_CHECKING:
    from .zygote import Walls

MAX_DESCRIPTORS = 4
SUPERVISOR_LIVES = 5


def run(owner: socket.socket, walls: Walls) -> NoReturn:
    """The whole life of pid 1. Raises what goes wrong before the walls are up."""
    # The owner learns our pid by this message's credentials, and puts us into control groups before it asks.
    tell(owner, {"hello": True})
    data, descriptors, _flags, _address = socket.recv_fds(owner, MAX_MESSAGE_BYTES, MAX_DESCRIPTORS)
    if not data:
        os._exit(0)
    request = json.loads(data)
    enclosure.put_up(
        request,
        uid=walls.uid,
        gid=walls.gid,
        last_capability=walls.last_capability,
        filter_program=walls.filter_program,
    )
    replace_standard_streams()
    close_all_but({0, 1, 2, owner.fileno(), *descriptors})
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    tell(owner, {"walls": True})
    if request["job"]:
        attendant.Attendant(owner, request, descriptors).serve()
    Init(owner, request, descriptors).serve()


class Init:
    """Pid 1 once the walls are up: one thread, no ZMQ, so that it stays fit to be forked."""

    def __init__(self, owner: socket.socket, request: dict[str, Any], descriptors: list[int]) -> None:
        self._owner = owner
        self._request = request
        self._descriptors = descriptors
        self._kernels: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._supervisor = 0
        self._ending = False
        self._supervisor_lives = SUPERVISOR_LIVES
        self._link: socket.socket | None = None
        self._children, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def serve(self) -> NoReturn:
        """Until the owner goes, or the supervisor cannot be kept alive."""
        self._start_supervisor()
        while True:
            poll = select.poll()
            link = self._link
            for descriptor in (self._owner.fileno(), self._children, link.fileno() if link else -1):
                if descriptor >= 0:
                    poll.register(descriptor, select.POLLIN)
            ready = {descriptor for descriptor, _event in poll.poll()}
            if self._owner.fileno() in ready:
                self._hear_owner()
            if link is not None and link.fileno() in ready:
                self._hear_supervisor(link)
            if self._children in ready:
                with suppress(BlockingIOError):
                    os.read(self._children, 4096)
                self._reap()

    def _hear_owner(self) -> None:
        try:
            data = self._owner.recv(MAX_MESSAGE_BYTES)
        except OSError:
            data = b""
        if not data:
            os._exit(0)
        if "terminate" in json.loads(data):
            self._ending = True
            for pid in self._kernels:
                signal_group(pid, signal.SIGTERM)
            self._reap()

    def _hear_supervisor(self, link: socket.socket) -> None:
        try:
            data, descriptors, _flags, _address = socket.recv_fds(link, MAX_MESSAGE_BYTES, 1)
        except OSError:
            data, descriptors = b"", []
        try:
            if not data:
                # It died, or is dying: the reaper starts another.
                link.close()
                self._link = None
                return
            self._obey(link, json.loads(data), descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _obey(self, link: socket.socket, order: dict[str, Any], descriptors: list[int]) -> None:
        if order["do"] == "fork" and descriptors:
            self._fork_kernel(link, order, descriptors[0])
        elif order["do"] == "signal" and order["pid"] in self._kernels:
            if order["group"]:
                signal_group(order["pid"], order["signal"])
            else:
                os.kill(order["pid"], order["signal"])
        elif order["do"] == "tell":
            tell(self._owner, order["message"])

    def _fork_kernel(self, link: socket.socket, order: dict[str, Any], ready: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            tell(link, {"did": "fail", "index": order["index"], "message": str(error)})
            return
        if pid == 0:
            live_in_child(lambda: self._be_kernel(order, ready))
        self._kernels[pid] = order["index"]
        self._ended.pop(order["index"], None)
        tell(link, {"did": "fork", "index": order["index"], "pid": pid})

    def _be_kernel(self, order: dict[str, Any], ready: int) -> NoReturn:
        kept = os.dup(ready)
        close_all_but({0, 1, 2, kept})
        # Its own /proc files belong to it again; when memory runs out it goes before the supervisor.
        linux.prctl(linux.PR_SET_DUMPABLE, 1)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if order["kernelspec"]:
            relay.become(order, kept)
        kernel.become(order, kept)

    def _start_supervisor(self) -> None:
        self._supervisor_lives -= 1
        if self._supervisor_lives < 0:
            tell(self._owner, {"exit": 1, "why": "the supervisor was killed too often"})
            os._exit(1)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = Before(
            running={index: pid for pid, index in self._kernels.items()},
            ended=dict(self._ended),
            first=self._supervisor_lives == SUPERVISOR_LIVES - 1,
        )
        pid = os.fork()
        if pid == 0:
            live_in_child(lambda: self._be_supervisor(theirs, before))
        theirs.close()
        self._link = ours
        self._supervisor = pid

    def _be_supervisor(self, link: socket.socket, before: Before) -> NoReturn:
        close_all_but({0, 1, 2, link.fileno(), *self._descriptors})
        gauges = Gauges.from_descriptors(self._descriptors, self._request["memory_limit_bytes"])
        supervisor.Supervisor(self._request, InitSpawner(link, before), gauges).serve()

    def _reap(self) -> None:
        self._end_if_done()
        for pid, status in ended_children(self._kernels.__contains__):
            self._learn_end(pid, status)
            self._end_if_done()

    def _end_if_done(self) -> None:
        if self._ending and not self._kernels:
            os._exit(0)

    def _learn_end(self, pid: int, status: int) -> None:
        if pid == self._supervisor:
            self._start_supervisor()
        elif pid in self._kernels:
            self._ended[self._kernels.pop(pid)] = status
            if self._link is not None:
                tell(self._link, {"did": "exit", "pid": pid, "status": status})
