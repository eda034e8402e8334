"""Kernels for `plain_sandbox.py`, in the kernels' own interpreter: imported once, then forked for every sandbox.

Reads JSON lines [connection file, folder, environment] and answers each with the process id of a kernel, which leads a
group of its own. It ends at the end of its input, and they with it, as ipykernel does when its parent is gone.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

import ipykernel.ipkernel
import ipykernel.kernelapp
import ipykernel.zmqshell
import IPython.core.debugger
import IPython.core.historyapp  # noqa: F401 - what a kernel imports only as it starts


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: a kernel that has ended is gone
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        connection, folder, environment = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(connection, folder, environment)
        print(pid, flush=True)


def _become(connection: str, folder: str, environment: Mapping[str, str]) -> NoReturn:
    """As `python -m ipykernel_launcher -f CONNECTION`, started in the folder."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    try:
        ipykernel.kernelapp.launch_new_instance(argv=["-f", connection, f"--IPKernelApp.parent_handle={os.getppid()}"])
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
