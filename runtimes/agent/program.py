"""A runtime without a fork server: the agent as a program of its own (plain bubblewrap, and pods).

python -I RUN program REQUEST_FILE [OWNER_FD]
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from . import enclosure, init, linux
from .gauges import Gauges
from .spawner import ProgramSpawner
from .supervisor import Supervisor


def main(arguments: list[str]) -> None:
    """Reads the request, a JSON file or "-" for the owner's first message, and serves until it is killed."""
    owner = socket.socket(fileno=int(arguments[1])) if len(arguments) > 1 else None
    descriptors: list[int] = []
    if arguments[0] == "-" and owner is not None:
        data, descriptors, _flags, _address = socket.recv_fds(owner, 1 << 18, 4)
    else:
        data = Path(arguments[0]).read_bytes()
    if not data:
        sys.exit("no request")
    request = json.loads(data)
    if owner is not None:
        owner.set_inheritable(False)
    init.replace_standard_streams()
    enclosure.limit(request.get("rlimits", {}))
    if request.get("refused_networks"):
        linux.refuse_routes(request["refused_networks"])
    # bubblewrap let us keep what the routes needed. With no_new_privs nothing can be gained again.
    linux.drop_capabilities(-1)
    # Kernels run as the same user: they may not read this process.
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    if owner is not None:
        owner.send(json.dumps({"walls": True}).encode())
    gauges = Gauges.from_descriptors(descriptors, request["memory_limit_bytes"]) if owner else Gauges.of_own_group()
    Supervisor(request, ProgramSpawner(owner), gauges).serve()
