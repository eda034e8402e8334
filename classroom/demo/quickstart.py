"""nbgrader's quickstart course, made by the installed nbgrader: nothing of it is copied into the project."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

COURSE = "course101"
ASSIGNMENT = "ps1"


class QuickstartFailed(Exception):
    """nbgrader's command failed; the message is the end of what it printed."""


def problem_set() -> dict[str, bytes]:
    """The files of `source/ps1`: two notebooks and a picture. Takes seconds: nbgrader is slow to start."""
    with tempfile.TemporaryDirectory(prefix="pupitre-quickstart-") as folder:
        # A home of its own: someone's nbgrader configuration must not change the course.
        environment = os.environ | {"HOME": folder, "JUPYTER_CONFIG_DIR": folder, "JUPYTER_NO_CONFIG": "1"}
        command = [sys.executable, "-m", "nbgrader", "quickstart", COURSE]
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        source = Path(folder) / COURSE / "source" / ASSIGNMENT
        if done.returncode or not source.is_dir():
            raise QuickstartFailed(done.stdout[-2000:])
        files = (path for path in sorted(source.rglob("*")) if path.is_file())
        return {str(path.relative_to(source)): path.read_bytes() for path in files}
