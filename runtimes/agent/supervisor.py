"""The agent of a runtime: starts, interrupts, restarts and reports kernels on a socket of its own, and moves files.

What a kernel does is elsewhere, so that a busy kernel blocks nothing here. The same code runs in a local sandbox
(kernels forked by pid 1) and in a pod (kernels started as programs).
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import zmq

from . import layout, relay
from .desk import Asker, Desk, Refused
from .enclosure import HOME, SOCKETS
from .gauges import Gauges, of_home
from .kernels import Kernel, Kernels, kernel_index
from .mover import Mover
from .pulse import Pulse
from .spawner import Before, Exited, Failed, News, Spawner, Started
from .switch import Ends

TICK_MILLISECONDS = 1000


class Supervisor:
    """One event loop over the agent's socket, the spawner's news, and the kernels' pulse.

    request: keys, transport, host, env (of each kernel), kernels (to start at once), preload (by these), watch_idle."""

    def __init__(self, request: Mapping[str, Any], spawner: Spawner, gauges: Gauges, ends: Ends | None = None) -> None:
        self._keys: dict[str, str] = request["keys"]
        self._transport, self._host = request["transport"], request.get("host", SOCKETS)
        self._env: dict[str, str] = dict(request["env"])
        self._first_kernels, self._preload = int(request["kernels"]), request.get("preload", [])
        self._spawner = spawner
        self._gauges, self._ends = gauges, ends or Ends()
        self._began = time.monotonic()
        self._ready_told, self._preload_failed = False, ""
        self._kernels = Kernels()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._desk = Desk(context, layout.agent_url(self._transport, self._host), self._keys)
        self._mover = Mover(self._desk, HOME)
        self._pulse = Pulse(context, self._keys) if request["watch_idle"] else None
        self._poller = zmq.Poller()
        self._verbs: dict[str, Callable[[Asker, dict[str, Any], bytes], dict[str, Any] | None]] = {
            "status": self._status,
            "start_kernel": self._start_kernel,
            "interrupt": self._interrupt,
            "restart_kernel": self._restart_kernel,
            "stop_kernel": self._stop_kernel,
            "watch": self._watch,
            "dismiss": self._dismiss,
            **self._mover.verbs,
        }

    def serve(self) -> NoReturn:
        """Until there is nobody left to serve."""
        for source in (self._desk.socket, self._spawner.fileno(), self._mover.fileno()):
            self._poller.register(source, zmq.POLLIN)
        self._adopt(self._spawner.before)
        self._tell_ready()
        while True:
            for source, _event in self._poller.poll(TICK_MILLISECONDS):
                self._attend(source)
            if self._ends.look(self._kernels.idle_seconds(self._began), watched=self._desk.is_watched()):
                self._desk.tell({"event": "ending"})

    def _adopt(self, before: Before) -> None:
        for index, pid in before.running.items():
            self._follow(self._kernels.add(Kernel(index, {}, "", state="idle", pid=pid)))
        for index, status in before.ended.items():
            self._kernels.add(Kernel(index, {}, "")).end(status, out_of_memory=self._gauges.oom_kills() > 0)
        for index in range(self._first_kernels if before.first else 0):
            self._begin(self._kernels.add(Kernel(index, {}, "")))

    def _attend(self, source: Any) -> None:
        if source is self._desk.socket:
            self._hear()
        elif source == self._mover.fileno():
            self._mover.deliver()
        elif source == self._spawner.fileno():
            try:
                news = self._spawner.news()
            except (EOFError, OSError):
                os._exit(0)
            for item in news:
                self._learn(item)
        elif isinstance(source, int):
            self._bound(source)
        elif self._pulse is not None:
            self._feel(self._pulse.feel(source))

    def _hear(self) -> None:
        question = self._desk.hear()
        if question is None:
            return
        self._ends.heard()
        asker, header, payload = question
        try:
            answer = self._verbs[str(header["verb"])](asker, header, payload)
        except Refused as refusal:
            self._desk.refuse(asker, refusal.code, str(refusal))
        except (KeyError, TypeError, ValueError) as error:
            self._desk.refuse(asker, "bad-request", repr(error))
        except OSError as error:
            self._desk.refuse(asker, "error", str(error))
        else:
            if answer is not None:
                self._desk.answer(asker, answer)

    # --- verbs; None: the answer comes later

    def _status(self, _asker: Asker, _header: dict[str, Any], _payload: bytes) -> dict[str, Any]:
        return {
            "kernels": [kernel.describe() for kernel in self._kernels],
            **self._gauges.describe(),
            **of_home(),
            "idle_seconds": self._kernels.idle_seconds(self._began),
            "uptime_seconds": time.monotonic() - self._began,
            "ending": self._ends.begun,
            "preload_failed": self._preload_failed,
        }

    def _start_kernel(self, asker: Asker, header: dict[str, Any], _payload: bytes) -> dict[str, Any] | None:
        index = kernel_index(header)
        kernel = self._kernels.get(index)
        if kernel is not None and kernel.state in ("idle", "busy"):
            return {"kernel": kernel.describe()}
        if kernel is None or not kernel.lives:
            restarts = kernel.restarts + 1 if kernel else 0
            kernelspec = relay.checked(header["kernelspec"])
            kernel = Kernel(index, dict(header["env"]), str(header["cwd"]), kernelspec, restarts=restarts)
            self._begin(self._kernels.add(kernel))
        elif kernel.state == "stopping":
            kernel.restarting = True
        kernel.waiting.append(asker)
        return None

    def _interrupt(self, _asker: Asker, header: dict[str, Any], _payload: bytes) -> dict[str, Any]:
        kernel = self._kernels.get(kernel_index(header))
        if kernel is None or not kernel.pid:
            raise Refused("unknown-kernel", "the kernel does not run")
        self._spawner.signal(kernel.pid, signal.SIGINT, group=True)
        return {"kernel": kernel.describe()}

    def _restart_kernel(self, asker: Asker, header: dict[str, Any], _payload: bytes) -> None:
        kernel = self._kernels.get(kernel_index(header))
        if kernel is None:
            raise Refused("unknown-kernel", "the kernel was never started")
        # Its folder may have another name by now.
        kernel.cwd, kernel.kernelspec = str(header["cwd"]), relay.checked(header["kernelspec"])
        kernel.waiting.append(asker)
        kernel.restarting = True
        if kernel.lives:
            self._kill(kernel)
        else:
            self._again(kernel)

    def _stop_kernel(self, asker: Asker, header: dict[str, Any], _payload: bytes) -> dict[str, Any] | None:
        kernel = self._kernels.get(kernel_index(header))
        if kernel is None or not kernel.lives:
            self._kernels.forget(kernel_index(header))
            return {}
        kernel.restarting = False
        kernel.stop_asked.append(asker)
        self._kill(kernel)
        return None

    def _watch(self, asker: Asker, header: dict[str, Any], _payload: bytes) -> dict[str, Any]:
        self._desk.watch(asker)
        for kernel in self._kernels if header["first"] else ():
            self._desk.tell({"event": "kernel", "kernel": kernel.describe()}, only=asker)
        return {}

    def _dismiss(self, _asker: Asker, _header: dict[str, Any], _payload: bytes) -> dict[str, Any]:
        self._ends.dismiss()
        return {}

    # --- a kernel's life

    def _begin(self, kernel: Kernel) -> None:
        kernel.begin([] if self._ready_told else self._preload)
        readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        kernel.bound = readable
        self._poller.register(readable, zmq.POLLIN)
        connection = layout.kernel_connection(self._transport, self._host, kernel.index, self._keys)
        order = {
            "index": kernel.index,
            "connection": connection,
            "env": {**self._env, **kernel.env},
            "cwd": kernel.cwd,
            "kernelspec": kernel.kernelspec,
            "preload": kernel.preload,
        }
        self._spawner.start(order, writable)

    def _kill(self, kernel: Kernel) -> None:
        kernel.state = "stopping"
        # One that has no process yet is killed as soon as it has.
        if kernel.pid:
            self._spawner.signal(kernel.pid, signal.SIGKILL, group=True)

    def _again(self, kernel: Kernel) -> None:
        kernel.restarting = False
        kernel.restarts += 1
        self._begin(kernel)

    def _learn(self, news: News) -> None:
        if isinstance(news, Started):
            kernel = self._kernels.get(news.index)
            if kernel is not None:
                kernel.pid = news.pid
                if kernel.state == "stopping":
                    self._kill(kernel)
        elif isinstance(news, Failed):
            kernel = self._kernels.get(news.index)
            if kernel is not None:
                self._ended(kernel, 1, news.message)
        elif isinstance(news, Exited):
            kernel = self._kernels.of_process(news.pid)
            if kernel is not None:
                self._ended(kernel, news.status, "")

    def _ended(self, kernel: Kernel, status: int, message: str) -> None:
        was_starting = kernel.state == "starting"
        self._forget_descriptor(kernel)
        kernel.end(status, out_of_memory=self._gauges.ran_out())
        if was_starting and kernel.preload:
            # What it imports ends it, before anybody asks for it: without, it is what a cold start gives.
            self._preload, self._preload_failed = [], f"{kernel.exit_reason}, status {status}"
            self._begin(kernel)
            return
        if kernel.restarting:
            # Nobody is told of an end that was asked for and is no news: late, it would be taken for the next life's.
            self._again(kernel)
            return
        self._tell(kernel)
        for asker in kernel.waiting:
            self._desk.refuse(asker, "start-failed", message or f"the kernel ended with status {status}")
        kernel.waiting.clear()
        for asker in kernel.stop_asked:
            self._desk.answer(asker, {})
        if kernel.stop_asked:
            self._kernels.forget(kernel.index)
        if was_starting:
            self._tell_ready()

    def _bound(self, descriptor: int) -> None:
        kernel = self._kernels.of_descriptor(descriptor)
        if kernel is None or not select.select([descriptor], [], [], 0)[0]:
            # Its end was told of in the same round; the number may be another's by now.
            return
        told = os.read(descriptor, 1)
        self._forget_descriptor(kernel)
        # Closed without a byte: it died on its way, which the spawner will tell.
        if told and kernel.state == "starting":
            kernel.state = "idle"
            self._follow(kernel)
            for asker in kernel.waiting:
                self._desk.answer(asker, {"kernel": kernel.describe()})
            kernel.waiting.clear()
            self._tell(kernel)
            self._tell_ready()

    def _forget_descriptor(self, kernel: Kernel) -> None:
        if kernel.bound >= 0:
            self._poller.unregister(kernel.bound)
            os.close(kernel.bound)
            kernel.bound = -1

    def _follow(self, kernel: Kernel) -> None:
        if self._pulse is not None:
            connection = layout.kernel_connection(self._transport, self._host, kernel.index, self._keys)
            self._poller.register(self._pulse.follow(kernel.index, connection), zmq.POLLIN)

    def _feel(self, pulse: tuple[int, str] | None) -> None:
        kernel = self._kernels.get(pulse[0]) if pulse else None
        if pulse is None or kernel is None or kernel.state not in ("idle", "busy"):
            return
        kernel.active_at = time.monotonic()
        if pulse[1] in ("idle", "busy") and pulse[1] != kernel.state:
            kernel.state = pulse[1]
            self._tell(kernel)

    def _tell(self, kernel: Kernel) -> None:
        self._desk.tell({"event": "kernel", "kernel": kernel.describe(), "oom_kills": self._gauges.oom_kills()})

    def _tell_ready(self) -> None:
        """Opens and tells the owner, once, when every kernel that shall run from the start is bound or dead."""
        if not self._ready_told and all(kernel.state != "starting" for kernel in self._kernels):
            self._ready_told = True
            self._desk.open()
            self._spawner.tell_owner({"ready": [kernel.describe() for kernel in self._kernels]})
