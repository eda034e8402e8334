"""A course made by `nbgrader quickstart`, and nbgrader's command line to grade it: the peer of benchmarks and tests."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from classroom.places import environments_dir
from runtimes.sandboxes import environment

ASSIGNMENT = "ps1"
CELL_SECONDS = 5

#: (notebook, grade_id, "grade") → (auto_score, needs_manual_grade); (notebook, grade_id, "comment") → auto_comment
Rows = dict[tuple[str, str, str], object]

_QUERY = """
    select submitted_assignment.student_id, notebook.name, base_cell.name, {columns}
    from {table}
    join submitted_notebook on {table}.notebook_id = submitted_notebook.id
    join notebook on notebook.id = submitted_notebook.notebook_id
    join submitted_assignment on submitted_assignment.id = submitted_notebook.assignment_id
    join assignment on assignment.id = submitted_assignment.assignment_id
    join base_cell on base_cell.id = {table}.cell_id
    where assignment.name = ?
"""


def kernel_python() -> str:
    """The interpreter that the sandboxes run: both sides must use the same one."""
    found = environment.installed(environments_dir())
    return str(found[0].folder / "bin" / found[0].python.name) if found else sys.executable


class Course:
    """A folder that nbgrader knows how to work in, with kernels started by `kernel_python`."""

    #: What a shell starts as `nbgrader`.
    program: tuple[str, ...] = (sys.executable, "-m", "nbgrader")

    def __init__(self, folder: Path, kernel_python: str) -> None:
        self.folder = folder
        self._home = folder.parent / f"{folder.name}.home"
        spec = self._home / "kernels" / "python3"
        spec.mkdir(parents=True, exist_ok=True)
        argv = [kernel_python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.joinpath("kernel.json").write_text(
            json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
        )

    def environment(self) -> dict[str, str]:
        """The variables that nbgrader runs with: away from the settings of whoever runs it."""
        # Which warnings reach stderr decides scores: both sides run with Python's own defaults.
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
        return kept | {
            "HOME": str(self._home),
            # nbgrader starts `alembic` by name.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "JUPYTER_PATH": str(self._home),
            "JUPYTER_CONFIG_DIR": str(self._home / "config"),
            "JUPYTER_RUNTIME_DIR": str(self._home / "runtime"),
            "IPYTHONDIR": str(self._home / "ipython"),
        }

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """`nbgrader …` in the course's folder."""
        return subprocess.run(
            [*self.program, *arguments],
            cwd=cwd or self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
        )

    def create(self) -> None:
        """The quickstart course, with a short limit a cell, and patience with a crowded machine."""
        made = self.run("quickstart", str(self.folder), cwd=self.folder.parent)
        if made.returncode:
            raise RuntimeError(made.stderr)
        config = self.folder / "nbgrader_config.py"
        limits = f"c.Execute.timeout = {CELL_SECONDS}\nc.Execute.iopub_timeout = 60\nc.Execute.startup_timeout = 300\n"
        config.write_text(f"{config.read_text()}\n{limits}")

    def release(self, assignment: str = ASSIGNMENT) -> None:
        """`nbgrader generate_assignment`."""
        made = self.run("generate_assignment", assignment)
        if made.returncode:
            raise RuntimeError(made.stderr)

    def autograde(self) -> float:
        """Seconds that `nbgrader autograde` takes for the class. RuntimeError with its messages where it fails."""
        started = time.perf_counter()
        done = self.run("autograde", ASSIGNMENT)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return seconds

    def files(self, kind: str, assignment: str = ASSIGNMENT) -> dict[str, bytes]:
        """The files of `source/<assignment>`, `release/<assignment>` or `submitted/<student>/<assignment>`."""
        root = self.folder / kind / assignment
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }

    def submit(self, student: str, files: dict[str, bytes], assignment: str = ASSIGNMENT) -> None:
        """Puts work where `nbgrader autograde` looks for it."""
        root = self.folder / "submitted" / student / assignment
        for name, data in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def rows(self, assignment: str = ASSIGNMENT) -> dict[str, Rows]:
        """What the gradebook says of every student, cell by cell."""
        found: dict[str, Rows] = {}
        with sqlite3.connect(self.folder / "gradebook.db") as database:
            grades = _QUERY.format(table="grade", columns="grade.auto_score, grade.needs_manual_grade")
            for student, notebook, cell, score, manual in database.execute(grades, (assignment,)):
                found.setdefault(student, {})[notebook, cell, "grade"] = (score, bool(manual))
            comments = _QUERY.format(table="comment", columns="comment.auto_comment")
            for student, notebook, cell, comment in database.execute(comments, (assignment,)):
                found.setdefault(student, {})[notebook, cell, "comment"] = comment
        return found

    def failed(self, student: str, assignment: str = ASSIGNMENT) -> bool:
        """Whether nbgrader gave up on a submission: then it removes what it had written."""
        return not (self.folder / "autograded" / student / assignment).exists()
