"""`### AUTOTEST` lines to tests, as nbgrader writes them. They run the teacher's code, so they run it in a sandbox."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from grading.engine.configure import RunLog, config
from grading.engine.contract import Borrow, NoKernel, Problem, Sandbox, Settings
from grading.engine.examine import kernel_of
from grading.engine.generate import AUTOTEST, is_data, is_notebook, needs_kernel, with_frame
from grading.engine.gradebook_values import Place
from grading.engine.load import InstantiateTests, NbGraderPreprocessor, NotebookNode
from grading.engine.read import Unreadable, read, write

AUTOTESTS = "autotests.yml"


async def instantiate(
    files: Mapping[str, bytes], settings: Settings, sandbox: Borrow
) -> tuple[dict[str, bytes], list[Problem]]:
    """Every notebook that has `### AUTOTEST` lines, with its tests written out; problems for those that cannot be."""
    done: dict[str, bytes] = {}
    problems: list[Problem] = []
    data = {path: content for path, content in files.items() if is_data(path)}
    for path, notebook in _unwritten(files, settings):
        try:
            async with sandbox(files=data, kernel=kernel_of(notebook, settings) or "") as lent:
                done[path] = write(await _write_tests(notebook, files, settings, lent))
        except (Unwritable, NoKernel) as error:
            problems.append(Problem("autotest_failed", path, params={"message": str(error)}))
    return done, problems


def _unwritten(files: Mapping[str, bytes], settings: Settings) -> Iterator[tuple[str, NotebookNode]]:
    """Notebooks with `### AUTOTEST` lines, with header and footer."""
    for path in sorted(filter(is_notebook, files)):
        try:
            notebook = with_frame(read(files[path]), settings)
        except Unreadable:
            continue  # `generate` reports it
        if needs_kernel(notebook):
            yield path, notebook


def known_tests(files: Mapping[str, bytes], settings: Settings, sources: Mapping[Place, str]) -> dict[str, bytes]:
    """Notebooks with `### AUTOTEST` lines whose tests were all written before.

    `sources` are a gradebook's source cells. The tests of a class that was graded with them must stay what they were: a
    hashed one has its salt in it.
    """
    done: dict[str, bytes] = {}
    for path, notebook in _unwritten(files, settings):
        for cell in notebook.cells:
            place = (PurePosixPath(path).stem, str(cell.metadata.get("nbgrader", {}).get("grade_id")))
            if AUTOTEST in cell.source:
                cell.source = sources.get(place, cell.source)
        if not needs_kernel(notebook):
            done[path] = write(notebook)
    return done


class Unwritable(Exception):
    """The tests of one notebook could not be written; the text is for the teacher."""


async def _write_tests(
    notebook: NotebookNode, files: Mapping[str, bytes], settings: Settings, sandbox: Sandbox
) -> NotebookNode:
    client = await sandbox.client()
    loop = asyncio.get_running_loop()

    def execute(code: str, hook: Any) -> None:
        running = client.execute_interactive(
            code, allow_stdin=False, timeout=settings.limits.cell_seconds, output_hook=hook
        )
        asyncio.run_coroutine_threadsafe(running, loop).result()

    templates = files.get(AUTOTESTS, settings.autotests)
    part = _Tests(execute, config=config(settings), log=RunLog().logger)
    try:
        async with asyncio.timeout(settings.limits.wall_seconds):
            # nbgrader's code is synchronous and waits for every answer.
            return await asyncio.to_thread(part.write, notebook, templates)
    except TimeoutError as error:
        raise Unwritable("A test took too long.") from error
    except Exception as error:
        raise Unwritable(_explain(error)) from error


def _explain(error: BaseException) -> str:
    ename, evalue = getattr(error, "ename", ""), getattr(error, "evalue", "")
    if ename:
        return f"{ename}: {evalue}"[:500]
    return f"{type(error).__name__}: {error}"[:500]


class _Tests(InstantiateTests):
    """InstantiateTests whose kernel is somebody else's."""

    def __init__(self, execute: Any, **options: Any) -> None:
        super().__init__(**options)
        self._execute = execute

    def write(self, notebook: NotebookNode, templates: bytes | None) -> NotebookNode:
        """nbgrader's `preprocess` from the point where it has found an AUTOTEST line. Raises what nbgrader raises."""
        name = notebook.metadata.get("kernelspec", {}).get("name", "")
        if name not in self.comment_strs or name not in self.sanitizers:
            raise ValueError(f"Kernel {name} has not been specified in InstantiateTests.comment_strs")
        if templates is None:
            raise FileNotFoundError(f"{AUTOTESTS} is missing from the files of the assignment.")
        with tempfile.TemporaryDirectory(prefix="pupitre-") as folder:
            Path(folder, self.autotest_filename).write_bytes(templates)
            resources = {"kernel_name": name, "metadata": {"path": folder}}
            self._load_test_template_file(resources)
        self.global_tests_loaded = True
        self.sanitizer = self.sanitizers[name]
        written: NotebookNode = NbGraderPreprocessor.preprocess(self, notebook, resources)[0]
        return written

    def _execute_code_snippet(self, code: str) -> Any:
        self._execute(code, self._execute_code_snippet_output_hook)
        result: Any = self.execute_result
        self.execute_result: Any = None
        return result
