"""What every kernel would import or build at its start, done once before any fork: no thread, socket or key yet."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import linecache
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

BASE = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "ipykernel.debugger",
    "ipykernel.subshell_manager",
    "IPython.core.completer",
    "IPython.core.debugger",
    "IPython.core.historyapp",
    "IPython.core.magics",
    "IPython.extensions.storemagic",
    "asyncio.runners",
    "comm",
    "encodings.idna",
    "executing",
    "faulthandler",
    "pdb",
    "pure_eval",
    "pygments.formatters.terminal256",
    "pygments.lexers.python",
    "pygments.styles.default",
    "stack_data",
    "tornado.platform.asyncio",
    "uuid",
    "zmq.asyncio",
    "zmq.backend.cython",
    "zmq.eventloop.zmqstream",
    "zmq.utils.garbage",
)
PLOTS = "matplotlib_inline.backend_inline"
# What a job hardly ever needs, and each of its forks would pay for in page tables: completions, and plots, which come
# with numpy. A release that plots asks for matplotlib.
FOR_PEOPLE = ("jedi", PLOTS)
# Cells that touch what IPython builds lazily: compiling, printing, the first traceback.
_CELLS = (
    "x = [i for i in range(3)]\nprint(x)",
    "def f(a):\n    assert a == 2, 'no'\nf(1)",
    "try:\n    f(1)\nexcept AssertionError: pass\nelse: raise AssertionError('x')",
    "raise LookupError()",
)
# What makes the completer read the descriptions of builtins, of their types and of the import system (1.7 s).
_COMPLETIONS = ("pri", "'a'.jo")
_TRACES = ("last_type", "last_value", "last_traceback", "last_exc")


def import_modules(names: Sequence[str]) -> list[str]:
    """Imports what it can and returns what it could not."""
    missing = []
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit):  # noqa: BLE001 - a teacher's list may hold anything, and is only a hint
            missing.append(name)
    return missing


def build_application() -> None:
    """The IPKernelApp and shell singletons, complete but for sockets; `kernel.become` finds and uses them."""
    from ipykernel.compiler import XCachingCompiler
    from ipykernel.kernelapp import BaseIPythonApplication, IPKernelApp
    from ipykernel.zmqshell import ZMQInteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    application = IPKernelApp.instance(config=config)
    BaseIPythonApplication.initialize(application, [])
    # Made here, since it takes longer than everything else about a kernel; `kernel.become` makes it the kernel's own.
    assert application.session is not None
    # Command line and configuration are read; IPKernelApp.initialize would read them again for each kernel.
    BaseIPythonApplication.initialize = lambda _self, _argv=None: None
    shell = ZMQInteractiveShell.instance(
        config=config, profile_dir=application.profile_dir, user_ns={}, compiler_class=XCachingCompiler
    )
    inline: Any = sys.modules.get(PLOTS)
    if inline is not None:
        # It connects itself to the shell when it is imported; here it was imported before there was one.
        inline.configure_inline_support(shell, "module://matplotlib_inline.backend_inline")
        inline.matplotlib.interactive(True)
    # The front end offers no debugger, and starting one costs each kernel a walk over every module's pages.
    debugger: Any = importlib.import_module("ipykernel.debugger")
    debugger._is_debugpy_available = False


def run_cells() -> None:
    """Runs a few cells in the shell and wipes every trace of them."""
    from ipykernel.zmqshell import ZMQInteractiveShell

    shell: Any = ZMQInteractiveShell.instance()
    shell.display_pub.publish = _discard
    shell._showtraceback = _discard
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for cell in _CELLS:
            shell.run_cell(cell, store_history=False)
    del shell._showtraceback, shell.display_pub.publish
    shell.reset(new_session=True)
    shell.execution_count = 1
    for name in _TRACES:
        if hasattr(sys, name):
            delattr(sys, name)
    linecache.clearcache()


def complete() -> None:
    """Completes a few words, so that a kernel's first completion finds the builtins read; leaves no file behind."""
    from ipykernel.zmqshell import ZMQInteractiveShell
    from IPython.core.completer import provisionalcompleter

    jedi: Any = sys.modules.get("jedi")
    if jedi is None:
        return
    shell: Any = ZMQInteractiveShell.instance()
    kept = jedi.settings.cache_directory
    with tempfile.TemporaryDirectory() as folder, provisionalcompleter():
        jedi.settings.cache_directory = folder
        for text in _COMPLETIONS:
            list(shell.Completer.completions(text, len(text)))
    jedi.settings.cache_directory = kept


def remember_traceback_styles() -> None:
    """Each traceback builds new style classes and colour tables out of the same inputs: keep them (17 ms a kernel)."""
    import stack_data
    import stack_data.core
    from pygments.formatters.terminal256 import Terminal256Formatter

    styled = functools.lru_cache(16)(stack_data.core.style_with_executing_node)
    stack_data.style_with_executing_node = stack_data.core.style_with_executing_node = styled
    build = Terminal256Formatter._setup_styles
    known: dict[Any, tuple[dict[Any, Any], dict[Any, Any]]] = {}

    def setup_styles(formatter: Any) -> None:
        key = (type(formatter), formatter.style, formatter.usebold, formatter.useunderline, formatter.useitalic)
        if key not in known:
            build(formatter)
            known[key] = (formatter.style_string, formatter.best_match)
        formatter.style_string, formatter.best_match = (dict(table) for table in known[key])

    Terminal256Formatter._setup_styles = setup_styles


def _discard(*_args: Any, **_kwargs: Any) -> None:
    return None
