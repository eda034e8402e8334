"""A program that has read nbgrader once and forks for every command. `forked_nbgrader` starts it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

# Not compiled: see quick_nbgrader.py.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# All of it is wanted before the first fork.
from nbgrader import apps, converters  # noqa: E402, F401
from nbgrader.apps.nbgraderapp import NbGraderApp  # noqa: E402


def serve() -> None:
    """Takes [folder, arguments] a line on stdin, and answers [exit status, what was said] a line on stdout."""
    for line in sys.stdin:
        folder, arguments = json.loads(line)
        with tempfile.TemporaryFile("w+") as said:
            child = os.fork()
            if not child:
                _become(folder, arguments, said.fileno())
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said.seek(0)
            print(json.dumps([code, said.read()]), flush=True)


def _become(folder: str, arguments: Sequence[str], said: int) -> None:
    """The forked half does what `python -m nbgrader` does. Never returns."""
    code = 1
    try:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        NbGraderApp.launch_instance(list(arguments))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
