"""The fork server: one warm interpreter in an outer bubblewrap, whose forks become sandboxes.

    python -I RUN zygote LISTEN_FD FILTER_FILE (full | lean) MODULE…

It accepts and clones, and never reads a byte of a request: its memory, which every child inherits, holds no name and
no key. One thread, or a fork would not be safe.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

from . import (
    enclosure,
    init,
    linux,
    process,
    warm,
    wired,  # noqa: F401 - the kernels of jobs find it imported
)

SKIPPED = "PUPITRE_SKIPPED_MODULES"


def main(arguments: list[str]) -> None:
    """Warms up, prints READY and the modules that were left out, and serves until it is killed."""
    listener = socket.socket(fileno=int(arguments[0]))
    listener.set_inheritable(True)
    filter_program = Path(arguments[1]).read_bytes()
    skipped = _warm_up(arguments[3:], lean=arguments[2] == "lean")
    listener.set_inheritable(False)
    walls = Walls(filter_program)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    print("READY", *skipped, flush=True)
    while True:
        connection, _address = listener.accept()
        _clone(connection, listener, walls)
        connection.close()


class Walls:
    """What every sandbox needs and only the outside can read."""

    def __init__(self, filter_program: bytes) -> None:
        self.filter_program = filter_program
        self.last_capability = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
        self.uid, self.gid = os.getuid(), os.getgid()


def _clone(connection: socket.socket, listener: socket.socket, walls: Walls) -> None:
    try:
        pid = linux.clone(enclosure.NAMESPACES)
    except OSError as error:
        process.tell(connection, {"error": f"clone: {error}"})
        return
    if pid:
        return
    # From here on this is pid 1 of a new sandbox, and must never return into the fork server's loop.
    try:
        listener.close()
        init.run(connection, walls)
    except BaseException:  # noqa: BLE001 - whatever it is, the owner must learn it
        process.tell(connection, {"error": traceback.format_exc()})
    finally:
        os._exit(1)


def _warm_up(modules: list[str], *, lean: bool) -> list[str]:
    """Imports and builds; a module that starts a thread is left out by starting afresh without it."""
    skipped = os.environ.get(SKIPPED, "").split()
    warm.import_modules([*warm.BASE, *(() if lean else warm.FOR_PEOPLE)])
    _one_thread("the kernel itself", [])
    for module in modules:
        if module in skipped:
            continue
        if warm.import_modules([module]):
            skipped.append(module)
        _one_thread(module, [*skipped, module])
    if "matplotlib" in sys.modules:
        warm.import_modules([warm.PLOTS])
    warm.build_application()
    warm.remember_traceback_styles()
    warm.complete()
    warm.run_cells()
    _one_thread("warming up", [])
    return skipped


def _one_thread(what: str, skipped: list[str]) -> None:
    if len(list(Path("/proc/self/task").iterdir())) == 1:
        return
    if not skipped:
        sys.exit(f"{what} started a thread: kernels cannot be forked")
    os.environ[SKIPPED] = " ".join(skipped)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves, afresh
