"""nbgrader's command line for tests that need it a hundred times: imported once, then forked for every command.

Most of what a command takes is Python reading nbgrader. The rest is as always: a process of its own, in which
nbgrader's own `launch_instance` gets the arguments that a shell would give it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench._nbgrader_course import Course

_PROGRAM = Path(__file__).with_name("fork_nbgrader.py")


class ForkedCourse(Course):
    """A Course whose `run` costs a fork instead of a start."""

    _server: subprocess.Popen[str]

    def __init__(self, folder: Path, kernel_python: str) -> None:
        super().__init__(folder, kernel_python)
        self._kernel_python = kernel_python

    @contextmanager
    def commands(self) -> Iterator[None]:
        """`run` works inside this only."""
        with subprocess.Popen(
            # -P: what lies beside the program is no part of nbgrader's world.
            [sys.executable, "-P", str(_PROGRAM)],
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as self._server:
            try:
                yield
            finally:
                assert self._server.stdin is not None
                self._server.stdin.close()

    def beside(self, name: str) -> ForkedCourse:
        """Another course in the folder next to it, whose commands run as long as this one's do."""
        made = ForkedCourse(self.folder.with_name(name), self._kernel_python)
        made._server = self._server
        return made

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """`nbgrader …` in the course's folder; what it says is in `stderr`."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps([str(cwd or self.folder), arguments]), file=self._server.stdin, flush=True)
        code, said = json.loads(self._server.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, "", said)
