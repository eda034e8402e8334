"""A kernel of another kernelspec than Python's: its program, behind the sockets that every kernel here has.

    python -I RUN relay ORDER_FILE READY_FD

Few kernels know Curve or greet a subscription (JEP 65). So the program binds plain sockets on the sandbox's own
loopback, as Jupyter starts it anywhere, and its parent, this process, passes messages on. They live and die together.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import signal
import socket
import string
import subprocess
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import zmq

from . import layout, linux
from .desk import Refused
from .kernel import PRIVATE, prepare_environment

KERNELSPECS = Path("/opt/py/share/jupyter/kernels")
DELIMITER = b"<IDS|MSG>"
# What a client asks on; iopub only tells.
ASKED = ("shell", "stdin", "control", "hb")
# Messages that may wait for a slower reader. ZMQ drops what comes on iopub above that, the end of a cell with it; a
# shell sends a message a line. They are in the sandbox's own memory.
MOST_WAITING = 100_000
# A connection that was refused is tried again after this.
RECONNECT_MILLISECONDS = 20
ASK_AGAIN_MILLISECONDS = 200
LAST_WORDS_MILLISECONDS = 500


def checked(name: str) -> str:
    """The name of a kernelspec that there is; "" is Python's own. Raises Refused."""
    if name and not (re.fullmatch(r"[\w-][\w.-]*", name) and (KERNELSPECS / name / "kernel.json").is_file()):
        raise Refused("no-kernelspec", f"the kernel environment has no kernelspec {name!r}")
    return name


def become(order: Mapping[str, Any], ready: int) -> NoReturn:
    """Runs the kernel of `order` (index, kernelspec, connection, env, cwd) until it ends, and ends as it did; writes a
    byte to the descriptor `ready` once it answers. Raises OSError or ValueError for a kernelspec without use."""
    spec = json.loads((KERNELSPECS / order["kernelspec"] / "kernel.json").read_text(encoding="utf-8"))
    prepare_environment(order)
    private = Path(f"{PRIVATE}kernel-{order['index']}")
    private.mkdir(mode=0o700, exist_ok=True)
    Relay(order, spec, private).serve(ready)


class Relay:
    """One thread. Outside are the clients, inside is the program."""

    def __init__(self, order: Mapping[str, Any], spec: Mapping[str, Any], private: Path) -> None:
        self._connection: dict[str, Any] = dict(order["connection"])
        self._key = str(self._connection["key"]).encode()
        self._by_message = spec.get("interrupt_mode") == "message"
        self._interrupted = False
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGINT, self._note_interrupt)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        within = {**self._connection, **_free_ports(), "transport": "tcp", "ip": "127.0.0.1"}
        within = {name: value for name, value in within.items() if not name.startswith("curve_")}
        # Before there is a second thread, which ZMQ brings.
        self._program = _started(spec, str(order["kernelspec"]), within, private / "connection.json")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._inside = {name: self._connect(within, name) for name in layout.CHANNELS}
        self._outside: dict[str, zmq.Socket[bytes]] = {}
        self._poller = zmq.Poller()
        self._poller.register(self._wake, zmq.POLLIN)

    def serve(self, ready: int) -> NoReturn:
        """Until the program ends."""
        self._wait_for_answers()
        self._outside = {name: self._bind(name) for name in layout.CHANNELS}
        os.write(ready, b"1")
        os.close(ready)
        across = {self._inside["iopub"]: self._outside["iopub"]}
        for name in ASKED:
            across[self._inside[name]], across[self._outside[name]] = self._outside[name], self._inside[name]
        for source in (*across, self._outside["iopub"]):
            self._poller.register(source, zmq.POLLIN)
        while True:
            for source, _event in self._poller.poll():
                if source == self._wake:
                    self._attend()
                elif source is self._outside["iopub"]:
                    self._greet(source.recv())
                else:
                    _pass_on(source, across[source])

    def _wait_for_answers(self) -> None:
        """Asks what the kernel is until it has said so on shell, and anything on iopub: then nothing is missed."""
        shell, iopub = self._inside["shell"], self._inside["iopub"]
        waiting = {shell, iopub}
        for source in waiting:
            self._poller.register(source, zmq.POLLIN)
        shell.send_multipart(self._message("kernel_info_request", {}))
        while waiting:
            # Before the first answer there may be nobody yet to ask twice.
            events = self._poller.poll(None if shell in waiting else ASK_AGAIN_MILLISECONDS)
            if not events:
                shell.send_multipart(self._message("kernel_info_request", {}))
            for source, _event in events:
                if source == self._wake:
                    self._attend()
                else:
                    source.recv_multipart()
                    waiting.discard(source)

    def _attend(self) -> None:
        """A signal came in: the program ended, or is to be interrupted."""
        os.read(self._wake, 4096)
        status = self._program.poll()
        if status is not None:
            self._end(status)
        if self._interrupted and self._by_message:
            self._inside["control"].send_multipart(self._message("interrupt_request", {}))
        self._interrupted = False

    def _note_interrupt(self, _number: int, _frame: object) -> None:
        # A program that takes SIGINT is in this process group and got it itself.
        self._interrupted = True

    def _end(self, status: int) -> NoReturn:
        """What was said last is passed on, then this process ends as the program did."""
        iopub, clients = self._inside["iopub"], self._outside.get("iopub")
        while clients is not None and iopub.poll(0):
            clients.send_multipart(iopub.recv_multipart(copy=False), copy=False)
        self._context.destroy(linger=LAST_WORDS_MILLISECONDS)
        if status < 0:
            signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
            os.kill(os.getpid(), -status)
        os._exit(status)

    def _greet(self, event: bytes) -> None:
        """A new subscription is answered with iopub_welcome, as ipykernel does (JEP 65)."""
        if event[:1] == b"\x01":
            topic = event[1:]
            content = {"subscription": topic.decode("utf-8", "replace")}
            message = self._message("iopub_welcome", content)
            self._outside["iopub"].send_multipart([topic, *message] if topic else message)

    def _message(self, kind: str, content: dict[str, Any]) -> list[bytes]:
        """A signed message of our own (Jupyter messaging 5.4, the wire protocol)."""
        header = {
            "msg_id": uuid.uuid4().hex,
            "session": "relay",
            "username": "relay",
            "date": datetime.now(UTC).isoformat(),
            "msg_type": kind,
            "version": "5.3",
        }
        parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        signature = hmac.new(self._key, b"".join(parts), hashlib.sha256).hexdigest()
        return [DELIMITER, signature.encode(), *parts]

    def _connect(self, connection: Mapping[str, Any], name: str) -> zmq.Socket[bytes]:
        made = self._socket(zmq.SUB if name == "iopub" else zmq.DEALER)
        made.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MILLISECONDS)
        if name == "iopub":
            made.subscribe(b"")
        else:
            # A kernel asks for input at the identity that it was asked by.
            made.setsockopt(zmq.IDENTITY, b"relay")
        made.connect(layout.channel_url(connection, name))
        return made

    def _bind(self, name: str) -> zmq.Socket[bytes]:
        made = self._socket(zmq.XPUB if name == "iopub" else zmq.ROUTER)
        made.setsockopt(zmq.CURVE_SECRETKEY, self._connection["curve_secretkey"].encode())
        made.setsockopt(zmq.CURVE_PUBLICKEY, self._connection["curve_publickey"].encode())
        made.setsockopt(zmq.CURVE_SERVER, 1)
        made.bind(layout.channel_url(self._connection, name))
        return made

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        made: zmq.Socket[bytes] = self._context.socket(kind)
        made.setsockopt(zmq.SNDHWM, MOST_WAITING)
        made.setsockopt(zmq.RCVHWM, MOST_WAITING)
        return made


def _started(spec: Mapping[str, Any], name: str, connection: Mapping[str, Any], file: Path) -> subprocess.Popen[bytes]:
    """The kernelspec's program. It ends with this process, however that ends."""
    file.write_text(json.dumps(connection))
    file.chmod(0o600)
    values = {"connection_file": str(file), "resource_dir": str(KERNELSPECS / name), "prefix": sys.prefix}
    argv = [re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), part) for part in spec["argv"]]
    if Path(argv[0]).name.startswith("python") and spec.get("language") != "python":
        # Else a file of the student's could stand for a module of the kernel's own.
        argv.insert(1, "-P")
    env = {key: string.Template(value).safe_substitute(os.environ) for key, value in spec.get("env", {}).items()}
    by_message = spec.get("interrupt_mode") == "message"
    return subprocess.Popen(
        argv,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        # SIGINT to the group is for programs that want it.
        start_new_session=by_message,
        preexec_fn=partial(linux.prctl, linux.PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 - there is one thread
    )


def _free_ports() -> dict[str, int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _channel in layout.CHANNELS]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return {f"{name}_port": port for name, port in zip(layout.CHANNELS, ports, strict=True)}


def _pass_on(source: zmq.Socket[bytes], target: zmq.Socket[bytes]) -> None:
    frames = source.recv_multipart(copy=False)
    # Without an address it is an answer to a question of our own.
    if source.type is not zmq.DEALER or frames[0].bytes != DELIMITER:
        target.send_multipart(frames, copy=False)


def main(arguments: list[str]) -> None:
    """A kernel where no fork server is (the strict setting, and pods)."""
    order_file = Path(arguments[0])
    order = json.loads(order_file.read_text())
    order_file.unlink()
    become(order, int(arguments[1]))
