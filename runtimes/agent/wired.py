"""IPython's kernel on one Unix socket, for code that is run from start to end: no ZMQ, no connection file, no ports.

Everything that decides what a cell prints is ipykernel's own: shell, display hook, streams, message session, order of
messages. What is replaced is only how messages travel: ipykernel's five sockets, their encryption and four threads cost
more than most notebooks. Messages are those of the Jupyter protocol, with the channel's name before them.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import zmq
from ipykernel.iostream import BackgroundSocket, IOPubThread
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel
from ipykernel.utils import _async_in_context
from tornado.ioloop import IOLoop
from traitlets import Any as AnyTrait

from .packets import PACKET_BYTES, Assembler, BadPacket, split

SHELL, IOPUB = b"shell", b"iopub"
MAX_REQUEST_BYTES = 1 << 28


class _Timers:
    """As much of an event loop as ipykernel's streams ask of the thread that sends."""

    def __init__(self, wake: Callable[[Callable[[], object]], None]) -> None:
        self._wake = wake
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def call_later(self, seconds: float, call: Callable[[], object]) -> None:
        """Calls it after so many seconds. To be called in the thread itself."""
        heapq.heappush(self._waiting, (time.monotonic() + seconds, next(self._numbers), call))

    def add_callback(self, call: Callable[..., object], *arguments: object) -> None:
        """Calls it soon."""
        self._wake(partial(call, *arguments))

    def seconds(self) -> float | None:
        """Until the next one; None without any."""
        return max(self._waiting[0][0] - time.monotonic(), 0) if self._waiting else None

    def due(self) -> list[Callable[[], object]]:
        """Those whose time has come, taken out."""
        now = time.monotonic()
        found = []
        while self._waiting and self._waiting[0][0] <= now:
            found.append(heapq.heappop(self._waiting)[2])
        return found


class Publisher(IOPubThread):
    """The one thread that sends. A signal to the main thread can cut no message short, as with ipykernel's own."""

    def __init__(self, wire: socket.socket, session: Any) -> None:
        # IOPubThread's own makes ZMQ sockets; the rest of it works on what is set here.
        self.socket = self._wire = wire
        self.session = session
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.io_loop = _Timers(self._calls.put)
        self.background_socket = BackgroundSocket(self)
        self.thread = threading.Thread(target=self._work, name="IOPub", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def schedule(self, f: Callable[[], object]) -> None:
        if self.thread.is_alive():
            self._calls.put(f)
        else:
            # A process that the kernel forked: it has no such thread.
            f()

    def send_multipart(self, msg: Sequence[Any], *_arguments: Any, **_options: Any) -> None:
        self.schedule(partial(self.send, IOPUB, [_frozen(frame) for frame in msg]))

    def send(self, channel: bytes, frames: Sequence[bytes]) -> None:
        """Sends one message, in the thread; blocks while the other side takes nothing in."""
        try:
            for packet in split([channel, *frames]):
                self._wire.send(packet)
        except OSError:
            # Nobody listens any more: the sandbox is about to end.
            return

    def _work(self) -> None:
        while True:
            try:
                self._calls.get(timeout=self.io_loop.seconds())()
            except Empty:
                for call in self.io_loop.due():
                    call()


class Shell:
    """The shell channel, as the kernel sees its stream. `on_recv` gets every message that comes in."""

    def __init__(self, wire: socket.socket, publisher: Publisher) -> None:
        self.io_loop: Any = None
        self._wire, self._publisher = wire, publisher
        self._assembler = Assembler(MAX_REQUEST_BYTES)
        self._hear: Callable[[list[zmq.Frame]], Any] | None = None
        self._tasks: set[asyncio.Future[Any]] = set()

    def on_recv(self, callback: Callable[[list[zmq.Frame]], Any], copy: bool = True) -> None:
        self.io_loop = IOLoop.current()
        self._hear = callback
        self.io_loop.add_handler(self._wire, self._readable, IOLoop.READ)

    def send_multipart(self, frames: Sequence[Any], *_arguments: Any, **_options: Any) -> None:
        self._publisher.schedule(partial(self._publisher.send, SHELL, [_frozen(frame) for frame in frames]))

    def flush(self, *_arguments: Any) -> None:
        """Messages are sent in order, so there is nothing to wait for."""

    def _readable(self, *_event: Any) -> None:
        try:
            packet = self._wire.recv(PACKET_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            os._exit(0)
        try:
            frames = self._assembler.feed(packet)
        except BadPacket:
            os._exit(0)
        if frames is not None and self._hear is not None:
            task = asyncio.ensure_future(self._hear([zmq.Frame(frame) for frame in frames]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class _NoThread:
    """Stands for the thread that routes messages to subshells: there are none, and cells run in the main thread."""

    parent_thread = threading.main_thread()

    def __bool__(self) -> bool:
        return False


class _WiredKernel(IPythonKernel):
    shell_stream = AnyTrait()

    def start(self) -> None:
        """As IPythonKernel's, without a debugger."""
        if self.shell:
            self.shell.exit_now = False
        self.io_loop = IOLoop.current()
        self._control_lock = asyncio.Lock()
        self.shell_stream.on_recv(_async_in_context(partial(self.shell_main, None)), copy=False)
        self._publish_status("starting", "shell")

    @property
    def _supports_kernel_subshells(self) -> bool:
        return False


_WiredKernel.__name__ = _WiredKernel.__qualname__ = IPythonKernel.__name__
_WiredKernel.__module__ = IPythonKernel.__module__


def wire_up(application: IPKernelApp, wire: socket.socket) -> None:
    """Changes how the application will set itself up: instead of sockets of its own it gets `wire`."""
    # The socket is nobody else's, and encrypted by nobody: there is nothing that a signature would add.
    application.session.key = b""
    publisher = Publisher(wire, application.session)

    def init_sockets() -> None:
        application.configure_tornado_logger()
        publisher.start()
        application.iopub_thread, application.iopub_socket = publisher, publisher.background_socket

    def init_kernel() -> None:
        kernel: Kernel = _WiredKernel.instance(
            parent=application,
            session=application.session,
            shell_stream=Shell(wire, publisher),
            shell_channel_thread=_NoThread(),
            iopub_thread=publisher,
            iopub_socket=publisher.background_socket,
            log=application.log,
            profile_dir=application.profile_dir,
            user_ns=application.user_ns,
        )
        application.kernel = kernel
        application.displayhook.get_execution_count = lambda: kernel.execution_count

    application.init_sockets, application.init_kernel = init_sockets, init_kernel
    for name in ("init_connection_file", "init_heartbeat", "write_connection_file", "log_connection_info"):
        setattr(application, name, lambda: None)


def _frozen(frame: Any) -> bytes:
    return frame if isinstance(frame, bytes) else bytes(frame)
