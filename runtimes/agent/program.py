"""A runtime without a fork server: the agent as a program of its own (plain bubblewrap, and pods).

python -I RUN program REQUEST_FILE [OWNER_FD]
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from . import enclosure, init, linux, process
from .enclosure import TEMPORARY
from .gauges import Gauges
from .spawner import ProgramSpawner
from .supervisor import Supervisor
from .switch import Ends, Farewell, IdleSwitch

# On a volume that outlives the container.
RECORD = f"{TEMPORARY}/.kernels"
# What device plugins say of the accelerators that they gave (NVIDIA's; GKE's for MPS and for TPUs, whose library would
# otherwise ask a metadata service, which nobody here reaches).
_OF_ACCELERATORS = re.compile(
    r"(NVIDIA|CUDA|TPU)_\w+|(CHIPS_PER_)?HOST_BOUNDS|ALT|WRAP|ENABLE_ICI_RESILIENCY|VBAR_CONTROL_SERVICE_URL"
)


def main(arguments: list[str]) -> None:
    """Reads the request, a JSON file or "-" for the owner's first message, and serves until it is killed."""
    owner = socket.socket(fileno=int(arguments[1])) if len(arguments) > 1 else None
    try:
        _serve(arguments[0], owner)
    except Exception:
        if owner is not None:
            process.tell(owner, {"error": traceback.format_exc()})
        raise


def _serve(source: str, owner: socket.socket | None) -> NoReturn:
    descriptors: list[int] = []
    if source == "-" and owner is not None:
        data, descriptors, _flags, _address = socket.recv_fds(owner, process.MAX_MESSAGE_BYTES, init.MAX_DESCRIPTORS)
        owner.set_inheritable(False)
    else:
        data = Path(source).read_bytes()
    if not data:
        sys.exit("no request")
    request = json.loads(data)
    process.replace_standard_streams()
    enclosure.limit(request.get("rlimits", {}))
    # Kernels run as the same user: they may not read this process.
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    if owner is not None:
        process.tell(owner, {"walls": True})
    if owner is not None:
        gauges = Gauges.from_descriptors(descriptors, request["memory_limit_bytes"])
        Supervisor(request, ProgramSpawner(owner), gauges).serve()
    request["env"] = {**of_accelerators(os.environ), **request["env"]}
    spawner = ProgramSpawner(record=Path(RECORD))
    switch = IdleSwitch(request["idle_seconds"], lambda: spawner.end(0), armed=request["idle_armed"])
    # A pod that is deleted, evicted or past its deadline: its kernels get to finish. Only who ends by itself succeeds.
    farewell = Farewell(request["grace_seconds"], lambda: spawner.end(128 + signal.SIGTERM))

    def terminated(_number: int, _frame: object) -> None:
        farewell.ask()
        spawner.wake()

    signal.signal(signal.SIGTERM, terminated)
    Supervisor(request, spawner, Gauges.of_own_group(), Ends(switch, farewell)).serve()


def of_accelerators(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of `variables` by which code finds the accelerators of its machine."""
    return {name: text for name, text in variables.items() if _OF_ACCELERATORS.fullmatch(name)}
