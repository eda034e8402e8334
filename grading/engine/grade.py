"""A submission to scores: nbgrader's two autograde passes over every notebook, each in a sandbox of its own."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import PurePosixPath

from grading.engine.configure import RunLog, config, converted
from grading.engine.contract import (
    Borrow,
    CellResult,
    Failure,
    FilesRefused,
    Graded,
    Json,
    NoKernel,
    NotebookResult,
    NotebookSpec,
    Sandbox,
    SandboxLost,
    Spec,
)
from grading.engine.copies import copies
from grading.engine.execute import SandboxExecute, Stopped
from grading.engine.generate import is_data, is_notebook
from grading.engine.gradebook import Gradebook
from grading.engine.hidden import Hidden
from grading.engine.load import CheckCellMetadata, IgnorePattern, LimitOutput, NotebookNode
from grading.engine.parts import KeepGrades
from grading.engine.read import write
from grading.engine.renamed import renamed
from grading.engine.restore import Refused, Restored, failed_tests, has_code, restore
from grading.engine.seal import Seal

# What tools keep in a home folder; nbgrader's run folder is not one.
_TOOL_FOLDERS = frozenset({".ipython", ".cache", ".config", ".jupyter", ".local"})


Progress = Callable[[int, int], Awaitable[None]]


async def grade(
    spec: Spec, submitted: Mapping[str, bytes], sandbox: Borrow, progress: Progress | None = None
) -> Graded:
    """Scores and flags of every cell, equal to those of `nbgrader autograde`.

    All notebooks share one run folder and go through it in the order of their names; a fresh sandbox for each gets the
    files that the one before left. A notebook that fails ends the run, as with nbgrader, or with `salvage` fails alone:
    what ran of it is scored, and a kernel that ended for no known reason is replaced once. Raises SandboxLost and what
    `sandbox` raises: then nothing is known and the run may be repeated. `progress` hears of (done, all) notebooks.
    """
    run = _Run(spec, submitted, sandbox)
    if not run.paths:
        run.refuse_all()
    else:
        for done, name in enumerate(sorted(spec.notebooks, key=lambda name: f"{name}.ipynb")):
            if progress is not None:
                await progress(done, len(spec.notebooks))
            await run.notebook(spec.notebooks[name])
    return Graded(tuple(run.cells), tuple(run.notebooks), tuple(run.failures), run.log.text)


def _may_be_nobodys_fault(error: SandboxLost | Stopped) -> bool:
    """Whether a fresh kernel may fare better: the sandbox went, a signal came that no limit of ours had sent (a crash
    is one), or nobody knows why it ended. Code that exits, or meets a limit, would do so again."""
    return isinstance(error, SandboxLost) or error.code in {"kernel_killed", "kernel_died"}


def _is_safe(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\0" not in path


class _Run:
    """One submission on its way through the engine."""

    def __init__(self, spec: Spec, submitted: Mapping[str, bytes], sandbox: Borrow) -> None:
        self.spec, self.submitted, self.sandbox = spec, submitted, sandbox
        student = {path: data for path, data in submitted.items() if is_data(path) and _is_safe(path)}
        # nbgrader: the release's files overwrite the student's, the student's other files stay.
        self.folder: dict[str, bytes] = {**student, **{p: d for p, d in spec.files.items() if is_data(p)}}
        #: name of a released notebook → path of what was handed in for it
        self.paths = {name: f"{name}.ipynb" for name in spec.notebooks if f"{name}.ipynb" in submitted}
        if spec.settings.heal:
            self.paths |= renamed(spec.notebooks, submitted)
        self.copies = copies(spec, submitted, self.paths)
        self.cells: list[CellResult] = []
        self.notebooks: list[NotebookResult] = []
        self.failures: list[Failure] = []
        self.log = RunLog()
        #: Whether the run folder may hold a hidden test, written there by code that had read it.
        self.told = False

    def refuse_all(self) -> None:
        """nbgrader fails a submission in which it finds none of the notebooks, and scores nothing."""
        found = sorted(filter(is_notebook, self.submitted))
        wanted = sorted(spec.path for spec in self.spec.notebooks.values())
        self.failures.append(Failure("no_notebook", params={"wanted": wanted, "found": found}))
        for spec in self.spec.notebooks.values():
            self.notebooks.append(NotebookResult(spec.name, spec.path, "missing", None))
            self.cells.extend(Gradebook(spec.cells, spec.kernelspec).results(spec.name, {}))

    async def notebook(self, spec: NotebookSpec) -> None:
        """Grades one notebook and adds what came of it."""
        gradebook = Gradebook(spec.cells, spec.kernelspec)
        path = self.paths.get(spec.name)
        if path is None:
            gradebook.give_zero()
            self._add(spec, gradebook, NotebookResult(spec.name, spec.path, "missing", None))
            return
        if self.failures and not self.spec.settings.salvage:
            self._leave_out(spec, gradebook, path)
            return
        started = time.monotonic()
        restored: Restored | None = None
        try:
            restored = restore(self.submitted[path], spec, gradebook, self.spec, self.log)
            await self._execute(spec, restored)
            self._score(spec, restored, gradebook)
        except FilesRefused as error:
            self.failures.append(Failure("files_refused", spec.name, detail=str(error)[:500]))
        except NoKernel as error:
            self.failures.append(Failure("no_kernel", spec.name, {"kernel": spec.kernel}, str(error)[:500]))
        except (Refused, Stopped) as error:
            detail = getattr(error, "detail", "")
            self.failures.append(Failure(error.code, spec.name, error.params, detail))
            if restored is not None and restored.ran and self.spec.settings.salvage:
                self._score_what_ran(spec, restored, gradebook)
        failed = bool(self.failures) and self.failures[-1].notebook == spec.name
        self._add(
            spec,
            gradebook,
            NotebookResult(
                spec.name,
                spec.path,
                "failed" if failed else "graded",
                write(restored.notebook) if restored else None,
                time.monotonic() - started,
                (*self._about_the_file(spec.name, path), *(restored.notes if restored else ())),
                tuple(restored.record) if restored else (),
            ),
            restored.notebook if restored else None,
        )

    def _leave_out(self, spec: NotebookSpec, gradebook: Gradebook, path: str) -> None:
        """nbgrader does not come to the notebooks after one that fails: no scores, and everything for a person."""
        content = self.submitted[path]
        with suppress(Refused):
            content = write(restore(content, spec, gradebook, self.spec, self.log).notebook)
        note = {"code": "not_reached", "cell": 0, "failed": self.failures[0].notebook}
        notes = (note, *self._about_the_file(spec.name, path))
        self._add(spec, gradebook, NotebookResult(spec.name, spec.path, "failed", content, notes=notes))

    def _about_the_file(self, name: str, path: str) -> list[Json]:
        """Notes: it was handed in elsewhere, there are copies with other answers, one before it had failed."""
        notes: list[Json] = [one.as_json() for one in self.copies.get(name, ())]
        if path != f"{name}.ipynb":
            code = "moved_notebook" if PurePosixPath(path).stem == name else "renamed_notebook"
            notes.insert(0, {"code": code, "cell": 0, "path": path})
        if self.spec.settings.salvage and (before := [f.notebook for f in self.failures if f.notebook != name]):
            notes.append({"code": "graded_after_failure", "cell": 0, "failed": before[0]})
        return notes

    def _add(
        self, spec: NotebookSpec, gradebook: Gradebook, result: NotebookResult, executed: NotebookNode | None = None
    ) -> None:
        self.notebooks.append(result)
        cost = self.spec.settings.warnings_cost
        self.cells.extend(gradebook.results(spec.name, failed_tests(executed, warnings_cost=cost) if executed else {}))

    async def _execute(self, spec: NotebookSpec, restored: Restored) -> None:
        self.folder[spec.path] = Hidden(self.spec.settings).without(restored.notebook)
        if not has_code(restored.notebook):
            return
        original = restored.notebook  # a run works on a copy of its own
        try:
            await self._execute_once(spec, restored)
        except (SandboxLost, Stopped) as error:
            if not self.spec.settings.salvage or not _may_be_nobodys_fault(error):
                raise
            restored.notebook, restored.ran = original, 0
            restored.notes.append({"code": "kernel_replaced"})
            await self._execute_once(spec, restored)

    async def _execute_once(self, spec: NotebookSpec, restored: Restored) -> None:
        settings = self.spec.settings
        async with self.sandbox(files=self.folder, kernel=spec.kernel) as sandbox:
            seal = Seal(settings, broken=self.told)
            execute = SandboxExecute(sandbox, settings.limits, config(settings), self.log.logger, seal)
            try:
                restored.notebook = await execute.run(restored.notebook)
            except Stopped:
                restored.notebook, restored.ran = execute.nb, execute.ran
                await self._keep_files(spec, sandbox, seal)
                raise
            finally:
                restored.record += execute.watch.record
                restored.notes.extend(execute.watch.notes)
            await self._keep_files(spec, sandbox, seal)

    async def _keep_files(self, spec: NotebookSpec, sandbox: Sandbox, seal: Seal) -> None:
        """Takes the run folder over for the next notebook, if there is one and the sandbox still answers."""
        names = sorted(f"{name}.ipynb" for name in self.spec.notebooks)
        if names.index(f"{spec.name}.ipynb") == len(names) - 1 or not await sandbox.alive():
            return
        try:
            pulled = await sandbox.pull()
        except FilesRefused as error:
            self.log.logger.warning("Files of %s are not kept for the next notebook: %s", spec.path, error)
            return
        kept = {p: d for p, d in pulled.items() if p.split("/", 1)[0] not in _TOOL_FOLDERS and _is_safe(p)}
        kept[spec.path] = self.folder[spec.path]
        if kept != self.folder:
            self.folder, self.told = kept, self.told or seal.broken

    def _score_what_ran(self, spec: NotebookSpec, restored: Restored, gradebook: Gradebook) -> None:
        """Scores of the cells before the one in which the run was stopped, and of written answers. nbgrader has none;
        what did not run waits for a person."""
        whole = restored.notebook
        cells = [cell for at, cell in enumerate(whole.cells) if at < restored.ran or cell.cell_type != "code"]
        restored.notebook = NotebookNode({**whole, "cells": cells})
        try:
            self._score(spec, restored, gradebook)
        except Stopped as error:
            self.log.logger.warning("%s is not scored as far as it ran: %s", spec.path, error)
        else:
            restored.notes.append({"code": "scored_in_part", "cell": restored.ran + 1})
        finally:
            restored.notebook = whole

    def _score(self, spec: NotebookSpec, restored: Restored, gradebook: Gradebook) -> None:
        """nbgrader's second pass after Execute. Raises Stopped; scores given before stay, as with nbgrader."""
        options: Json = {"config": config(self.spec.settings), "log": self.log.logger}
        names = {"notebook": spec.name, "assignment": "assignment", "student": "student"}
        # ClearMetadata is off by default; the late penalty is computed by grading.scoring.
        forgiven = None if self.spec.settings.warnings_cost else restored.notes
        keep = KeepGrades(gradebook, forgiven, self.spec.numbers.get(spec.name), **options)
        parts = [
            IgnorePattern(**options),
            LimitOutput(**options),
            keep,
            CheckCellMetadata(**options),
        ]
        try:
            restored.notebook = converted(restored.notebook, parts, names, self.log)
        except ValueError as error:
            if "partial credit" in str(error):
                raise Stopped("points_exceeded") from error
            raise Stopped("unreadable_output", message=str(error)[:300]) from error
        except Exception as error:
            raise Stopped("unreadable_output", message=f"{type(error).__name__}: {error}"[:300]) from error
        finally:
            restored.notes.extend(keep.odd)
