"""What goes into the engine and what comes out: plain values, no nbgrader, no database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from jupyter_client.asynchronous.client import AsyncKernelClient

Json = dict[str, Any]

#: Settings of nbgrader's preprocessors that are plain data, so that an assignment may carry them.
#: Paths, classes and callables are missing on purpose: they would let a course reach into the worker.
ALLOWED_TRAITS: Mapping[str, frozenset[str]] = {
    "ClearSolutions": frozenset(
        {"code_stub", "text_stub", "begin_solution_delimeter", "end_solution_delimeter", "enforce_metadata"}
    ),
    "ClearHiddenTests": frozenset({"begin_test_delimeter", "end_test_delimeter", "enforce_metadata"}),
    "ClearMarkScheme": frozenset({"begin_mark_scheme_delimeter", "end_mark_scheme_delimeter", "enforce_metadata"}),
    "LockCells": frozenset({"lock_solution_cells", "lock_grade_cells", "lock_readonly_cells", "lock_all_cells"}),
    "InstantiateTests": frozenset({"autotest_delimiter", "hashed_delimiter", "use_salt", "enforce_metadata"}),
    "IgnorePattern": frozenset({"pattern", "enabled"}),
    "LimitOutput": frozenset({"max_lines", "max_traceback"}),
    "OverwriteCells": frozenset({"add_missing_cells", "missing_cell_notification"}),
}


@dataclass(frozen=True)
class Limits:
    """What one notebook may use while it is graded. Seconds and bytes."""

    cell_seconds: int = 30
    wall_seconds: float = 600.0
    output_bytes: int = 20 * 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """How an assignment is generated and graded.

    `traits` holds nbgrader settings by class and name, limited to `ALLOWED_TRAITS`; `header`, `footer` and `autotests`
    are the files that nbgrader looks for in the course folder. With `heal` notebooks are mended against the release
    before they are graded, so that a test cell that was copied or deleted by accident costs nobody anything; without
    it the same submissions fail as with nbgrader. With `salvage` what ran of a notebook that was stopped is scored, the
    notebooks after it are graded, and a kernel that ended for no known reason is replaced once; nbgrader does none of
    this. `warnings_cost`: text on stderr takes a test's points, as nbgrader has it. `kernels` are the kernelspecs
    beside Python's that notebooks may be for.
    """

    traits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    header: bytes | None = None
    footer: bytes | None = None
    autotests: bytes | None = None
    limits: Limits = field(default_factory=Limits)
    heal: bool = False
    salvage: bool = False
    warnings_cost: bool = True
    kernels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something a teacher should know before publishing. An "error" prevents it, a "warning" does not.

    `cell` counts from 1; 0 means the file as a whole. `code` selects the text in `grading.explain`.
    """

    code: str
    path: str
    cell: int = 0
    grade_id: str = ""
    severity: Literal["error", "warning"] = "error"
    params: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> Json:
        """The row that a release stores."""
        return {
            "code": self.code,
            "path": self.path,
            "cell": self.cell,
            "grade_id": self.grade_id,
            "severity": self.severity,
            "params": dict(self.params),
        }


@dataclass(frozen=True)
class CellSpec:
    """One cell that carries points or an answer, for people: `kind` is tests, manual, task or answer."""

    grade_id: str
    kind: Literal["tests", "manual", "task", "answer"]
    cell_type: str
    max_score: float
    position: int


@dataclass(frozen=True)
class NotebookSpec:
    """What nbgrader's gradebook knows of one released notebook. `cells` is JSON and is stored as it is."""

    name: str
    path: str
    kernelspec: Json
    cells: Json
    graded: tuple[CellSpec, ...] = ()

    @property
    def kernel(self) -> str:
        """The kernelspec that it is graded with; "" is Python's."""
        return str(self.cells.get("kernel", ""))


@dataclass(frozen=True)
class Spec:
    """A release, as far as grading needs it. `files` are the data files that overwrite the student's.

    `written_for` holds the layouts, by notebook, of the version that the student was given, where that is another one:
    what the teacher changed since is no change of theirs. `numbers` names the tests, by notebook, that ended with a
    number of points when the release's own solution was run; a notebook that is not in it was not run.
    """

    notebooks: Mapping[str, NotebookSpec]
    files: Mapping[str, bytes] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    written_for: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Generated:
    """The student's version and the spec. `pending` names notebooks whose tests need a kernel to be written."""

    student_files: Mapping[str, bytes]
    notebooks: tuple[NotebookSpec, ...]
    problems: tuple[Problem, ...]
    pending: tuple[str, ...] = ()

    @property
    def publishable(self) -> bool:
        """No problem is an error, and nothing is missing."""
        return not self.pending and not any(p.severity == "error" for p in self.problems)


@dataclass(frozen=True)
class Failure:
    """Why a notebook, or with `notebook=""` a whole submission, got no scores. `code` is a key of `grading.explain`."""

    code: str
    notebook: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""

    def as_json(self) -> Json:
        """The row that an autograding stores."""
        return {"code": self.code, "notebook": self.notebook, "params": dict(self.params), "detail": self.detail}


@dataclass(frozen=True)
class CellResult:
    """nbgrader's row for one cell. `auto_score` None: a person must look. `graded` False: it has a comment only."""

    notebook: str
    grade_id: str
    graded: bool
    auto_score: float | None = None
    needs_manual_grade: bool = False
    auto_comment: str | None = None
    failed_tests: str = ""


@dataclass(frozen=True)
class NotebookResult:
    """What became of one notebook. `content` is the executed notebook with hidden tests, None if none was readable.

    `record` has a row for each cell that was sent to the kernel: cell, grade_id, sha256 of its source, count
    (None where it did not come to its end).
    """

    name: str
    path: str
    state: Literal["graded", "missing", "failed"]
    content: bytes | None
    seconds: float = 0.0
    notes: tuple[Json, ...] = ()
    record: tuple[Json, ...] = ()


@dataclass(frozen=True)
class Graded:
    """Everything that one grading run found out."""

    cells: tuple[CellResult, ...]
    notebooks: tuple[NotebookResult, ...]
    failures: tuple[Failure, ...]
    log: str = ""


class ExitReason(Protocol):
    """Why a sandbox is no longer there."""

    @property
    def kind(self) -> str:
        """`out_of_memory`, `killed`, `exited`, `deadline`, `disk_full` or `lost`; `lost` is nobody's fault: retry."""


class Sandbox(Protocol):
    """One fresh sandbox with one kernel in it. Student code runs in there and nowhere else."""

    async def client(self) -> AsyncKernelClient:
        """A connected client of a kernel that answers."""

    async def interrupt(self) -> None:
        """Interrupts what the kernel is running."""

    async def alive(self) -> bool:
        """Whether the kernel still runs."""

    async def exit_reason(self) -> ExitReason | None:
        """Why it does not."""

    async def pull(self) -> dict[str, bytes]:
        """The files of the home folder."""


class Borrow(Protocol):
    """Makes sandboxes: `async with borrow(files=…, kernel=…) as sandbox`. Gone at the end, whatever happened."""

    def __call__(self, *, files: Mapping[str, bytes], kernel: str) -> AbstractAsyncContextManager[Sandbox]:
        """A sandbox whose home folder holds `files`. kernel: a kernelspec's name, "" for Python's. Raises NoKernel."""


class EngineError(Exception):
    """Base of what the engine raises. Bad notebooks raise nothing: they are results."""

    retryable = False


class FilesRefused(EngineError):
    """The sandbox cannot hold or give back these files: too many, too large, or with names that are not allowed."""


class NoKernel(EngineError):
    """The sandboxes' environment has no such kernelspec, or its program does not start."""


class SandboxLost(EngineError):
    """The sandbox disappeared through no fault of the code in it: grade again."""

    retryable = True
