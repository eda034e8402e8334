"""Between this machine and pods on its bridge: relays to loopback for them alone, and a way in from loopback."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from classroom.lifeline import dies_with_parent

LOOPBACK = "127.0.0.1"
START_SECONDS = 30


@contextmanager
def listening(address: str, port: int, *command: str) -> Iterator[None]:
    """A process in the background, once it listens there. It ends at the end, with all that it started."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=dies_with_parent(),  # noqa: PLW1509 - it takes no lock that a thread could hold
        )  # fmt: skip
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(address, port):
                said.seek(0)
                assert process.poll() is None, f"{command[0]} ended: {said.read()}"
                assert time.monotonic() < deadline, f"{command[0]} does not listen: {said.read()}"
                time.sleep(0.05)
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(START_SECONDS)


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


@dataclass(frozen=True)
class Bridge:
    """This machine's end of the network that its pods have: an address, and the network that it is in."""

    gateway: str
    network: str

    @classmethod
    def to(cls, pod: str) -> Bridge:
        """The bridge that a pod's address is reached by."""
        [route] = _ip("route", "get", pod)
        assert "gateway" not in route, f"pods are not on a bridge of this machine: {route}"
        [device] = [each for each in _ip("-4", "address", "show", "dev", route["dev"]) if each]
        [prefix] = [each["prefixlen"] for each in device["addr_info"] if each["local"] == route["prefsrc"]]
        return cls(route["prefsrc"], str(ipaddress.ip_network(f"{route['prefsrc']}/{prefix}", strict=False)))

    @contextmanager
    def relay(self, url: str) -> Iterator[str]:
        """`url`, which names a port of loopback, as pods reach it meanwhile; nobody but pods does."""
        there = f"{LOOPBACK}:{urlsplit(url).port}"
        assert there in url
        # Not the same port: another test's relay to the same thing may have it.
        with socket.socket() as probe:
            probe.bind((self.gateway, 0))
            port = probe.getsockname()[1]
        listen = f"TCP4-LISTEN:{port},bind={self.gateway},range={self.network},backlog=64,fork,reuseaddr"
        with listening(self.gateway, port, "socat", listen, f"TCP4:{there}"):
            yield url.replace(there, f"{self.gateway}:{port}")


def _ip(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-json", *words], check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout))
