"""A process that becomes an IPython kernel: forked from a warm one, or started as a program of its own.

python -m agent.kernel ORDER_FILE READY_FD
"""

from __future__ import annotations

import json
import os
import site
import socket
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import warm
from .enclosure import HOME, TEMPORARY

if TYPE_CHECKING:
    from ipykernel.kernelapp import IPKernelApp

PRIVATE = TEMPORARY + "/."
PATH = "/opt/py/bin:/usr/local/bin:/usr/bin:/bin"


_hidden: list[Any] = []


class _ModulesHidden:
    """Stands for `sys` while IPythonKernel.__init__ lists every module's file for the debugger that is switched off:
    the walk would copy thousands of pages that the kernel shares with its siblings."""

    modules: Mapping[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def become(order: Mapping[str, Any], ready: int, wire: socket.socket | None = None) -> NoReturn:
    """Runs the kernel of `order` (index, connection, env, cwd) and never returns; writes a byte to the descriptor
    `ready` once it listens: a client that connects earlier meets ZMQ's reconnect delay.

    wire: all its messages go there, instead of to the sockets of `connection`."""
    prepare_environment(order)
    private = Path(f"{PRIVATE}kernel-{order['index']}")
    private.mkdir(mode=0o700, exist_ok=True)
    application = _application(private, order, wire)
    # A student's own agent.py must not meet ours. Held on to: taking a module apart copies the pages that it is on.
    names = [name for name in sys.modules if name == "agent" or name.startswith("agent.")]
    _hidden.extend(sys.modules.pop(name) for name in names)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        # Python reseeds `random` after a fork; numpy's global generator would be the same in every sandbox.
        numpy_random.seed()
    _serve(application, ready)


def _application(private: Path, order: Mapping[str, Any], wire: socket.socket | None) -> IPKernelApp:
    """ipykernel's application, told where its messages go."""
    from ipykernel.kernelapp import IPKernelApp

    application = IPKernelApp.instance()
    application.session.pid, application.session.session = os.getpid(), str(uuid.uuid4())
    connection_file = private / "connection.json"
    sys.argv = ["ipykernel_launcher.py", "-f", str(connection_file)]
    application.connection_file = str(connection_file)
    if wire is not None:
        from . import wired

        wired.wire_up(application, wire)
    else:
        connection_file.write_text(json.dumps({**order["connection"], "kernel_name": "python3"}))
        (private / "security").mkdir(exist_ok=True)
    return application


def prepare_environment(order: Mapping[str, Any]) -> None:
    """A clean environment, nothing of whoever started us, and the working folder."""
    os.environ.clear()
    os.environ.update(base_environment(), **{str(name): str(value) for name, value in order["env"].items()})
    folder = Path(HOME, order["cwd"]).resolve()
    inside = folder.is_relative_to(HOME) and folder.is_dir()
    os.chdir(folder if inside else HOME)
    usual = [entry for entry in sys.path if entry and not entry.startswith("/opt/pupitre")]
    user_site = f"{HOME}/.local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    # `%pip install` puts packages there where the network lets it.
    site.ENABLE_USER_SITE, site.USER_BASE, site.USER_SITE = True, f"{HOME}/.local", user_site
    sys.path[:] = ["", *usual, *([] if user_site in usual else [user_site])]
    # The first installation makes the folder, and Python remembers for good that a folder of its path is not there.
    sys.path_importer_cache[user_site] = FileFinder(
        user_site,
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (SourceFileLoader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )


def base_environment() -> dict[str, str]:
    """Environment of everything that runs student code."""
    return {
        "HOME": HOME,
        "USER": "student",
        "LOGNAME": "student",
        "PATH": f"{HOME}/.local/bin:{PATH}",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "LD_LIBRARY_PATH": "/opt/py/lib",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": PRIVATE + "matplotlib",
        "IPYTHONDIR": PRIVATE + "ipython",
        "XDG_CACHE_HOME": PRIVATE + "cache",
        "JUPYTER_NO_CONFIG": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TERM": "xterm-color",
    }


def _serve(application: IPKernelApp, ready: int) -> NoReturn:
    import ipykernel.ipkernel
    from ipykernel.zmqshell import ZMQInteractiveShell

    ipykernel.ipkernel.sys = _ModulesHidden()
    try:
        application.initialize([])
    finally:
        ipykernel.ipkernel.sys = sys
    shell = ZMQInteractiveShell.instance()
    shell.parent = shell.kernel = application.kernel
    os.write(ready, b"1")
    os.close(ready)
    application.start()
    os._exit(0)


def main(arguments: list[str]) -> None:
    """A kernel in a fresh interpreter (the strict setting, and pods)."""
    order_file = Path(arguments[0])
    order = json.loads(order_file.read_text())
    order_file.unlink()
    # When memory runs out it goes before the supervisor.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.environ.update(base_environment())
    warm.build_application()
    warm.import_modules(order["preload"])
    become(order, int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
