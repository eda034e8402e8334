"""Busy or idle: what each kernel says of itself on iopub (Jupyter messaging, "Kernel status")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import zmq

from . import layout

_DELIMITER = b"<IDS|MSG>"


class Pulse:
    """One subscription for each kernel."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Mapping[str, str]) -> None:
        self._context = context
        self._server_key = keys["curve_public"].encode()
        self._public, self._secret = zmq.curve_keypair()
        self._sockets: dict[int, zmq.Socket[bytes]] = {}

    def follow(self, index: int, connection: Mapping[str, Any]) -> zmq.Socket[bytes]:
        """A socket to poll for kernel `index`. A restarted kernel binds the same address, and ZMQ reconnects."""
        if index not in self._sockets:
            socket = self._context.socket(zmq.SUB)
            socket.linger = 0
            socket.setsockopt(zmq.RCVHWM, 100)
            socket.setsockopt(zmq.RECONNECT_IVL, 50)
            socket.curve_publickey, socket.curve_secretkey = self._public, self._secret
            socket.curve_serverkey = self._server_key
            # Status messages have topics "kernel.ID.status"; streams have others and stay away.
            socket.subscribe(b"kernel.")
            socket.connect(layout.channel_url(connection, "iopub"))
            self._sockets[index] = socket
        return self._sockets[index]

    def feel(self, socket: zmq.Socket[bytes]) -> tuple[int, str] | None:
        """Kernel and its execution state ("busy", "idle", "starting"), if the next message tells one."""
        frames = socket.recv_multipart()
        index = next(index for index, followed in self._sockets.items() if followed is socket)
        if not frames[0].endswith(b".status"):
            return None
        try:
            # delimiter, signature, header, parent header, metadata, content
            return index, str(json.loads(frames[frames.index(_DELIMITER) + 5])["execution_state"])
        except (ValueError, IndexError, KeyError, TypeError):
            return None
