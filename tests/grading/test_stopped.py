"""Notebooks that were stopped before their end: what ran is scored, and a killed kernel gets one more chance."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from grading import engine
from grading.engine import Graded, Limits, SandboxLost, Settings, Spec
from grading.explain import NOTES, explain
from tests.grading.corpus import dump, parse
from tests.grading.course_of_one import PYTHON
from tests.grading.plain_sandbox import Exited, PlainSandbox, PlainSandboxes

BASE = {"grade": False, "solution": False, "locked": False, "schema_version": 3}


def _cell(make: Callable[..., Any], source: str, **about: object) -> Any:
    return make(source, metadata={"nbgrader": {**BASE, **about}})


def _tests(grade_id: str, source: str) -> Any:
    return _cell(new_code_cell, source, grade=True, locked=True, points=1, grade_id=grade_id)


CELLS = [
    _tests("before", "assert True"),
    _tests("wrong", "assert False"),
    _cell(new_code_cell, "### BEGIN SOLUTION\n### END SOLUTION", solution=True, grade_id="mine"),
    _tests("after", "assert True"),
    _cell(new_markdown_cell, "Why?", grade=True, solution=True, points=1, grade_id="why"),
]
SOURCE = {name: dump(new_notebook(cells=CELLS, metadata=PYTHON)) for name in ("p.ipynb", "q.ipynb")}
ENDS = "import os; os._exit(1)"
ENDS_ONCE = "import os\nif not os.path.exists('second'):\n    os._exit(1)"


def spec(**settings: Any) -> Spec:
    made = Settings(**{"salvage": True, "limits": Limits(cell_seconds=30, wall_seconds=60), **settings})
    generated = engine.generate(SOURCE, made)
    return Spec({notebook.name: notebook for notebook in generated.notebooks}, {}, made)


def handed_in(source: str) -> dict[str, bytes]:
    """The first notebook with `source` as the answer; the second one is as it was released."""
    notebook = parse(SOURCE["p.ipynb"])
    notebook.cells[2].source = source
    return {**SOURCE, "p.ipynb": dump(notebook)}


def scores(graded: Graded, notebook: str) -> dict[str, object]:
    found = [cell for cell in graded.cells if cell.notebook == notebook and cell.graded]
    return {cell.grade_id: (cell.auto_score, cell.needs_manual_grade) for cell in found}


def notes(graded: Graded) -> list[dict[str, Any]]:
    return [note for notebook in graded.notebooks for note in notebook.notes]


WHOLE = {"before": (1, False), "wrong": (0, False), "after": (1, False), "why": (None, True)}
IN_PART = {**WHOLE, "after": (None, True)}
NONE = dict.fromkeys(WHOLE, (None, True))
AFTER = {"code": "graded_after_failure", "cell": 0, "failed": "p"}


@pytest.mark.parametrize(
    ("source", "limits", "code"),
    [
        (ENDS, Limits(), "kernel_exited"),
        ("import time; time.sleep(600)", Limits(wall_seconds=4), "too_long"),
        ("print('x' * 100_000)", Limits(output_bytes=50_000), "too_much_output"),
    ],
)
async def test_what_ran_before_the_end_keeps_its_scores(source: str, limits: Limits, code: str, plain) -> None:
    graded = await engine.grade(spec(limits=limits), handed_in(source), plain)
    assert [(f.notebook, f.code) for f in graded.failures] == [("p", code)]
    assert scores(graded, "p") == IN_PART
    # The next notebook is graded as if nothing had happened.
    assert scores(graded, "q") == WHOLE
    assert notes(graded) == [{"code": "scored_in_part", "cell": 3}, AFTER]
    assert "nbgrader would have stopped there" in explain(NOTES, AFTER)


async def test_in_strict_mode_a_dead_kernel_leaves_no_scores_nor_do_later_notebooks_as_with_nbgrader(plain) -> None:
    graded = await engine.grade(spec(salvage=False), handed_in(ENDS), plain)
    assert [(f.notebook, f.code) for f in graded.failures] == [("p", "kernel_exited")]
    assert scores(graded, "p") == scores(graded, "q") == NONE
    assert notes(graded) == [{"code": "not_reached", "cell": 0, "failed": "p"}]
    assert "nbgrader stops at the first notebook that fails" in explain(NOTES, notes(graded)[0])
    # It can be read and marked all the same.
    assert parse(graded.notebooks[1].content or b"").cells[0].source == "assert True"


async def test_in_strict_mode_a_missing_notebook_after_one_that_failed_has_zero_as_with_nbgrader(plain) -> None:
    graded = await engine.grade(spec(salvage=False), {"p.ipynb": handed_in(ENDS)["p.ipynb"]}, plain)
    assert scores(graded, "q") == dict.fromkeys(WHOLE, (0, False))


class Killed(PlainSandbox):
    async def exit_reason(self) -> Exited | None:
        return None if await self.alive() else Exited("killed")


class Lost(PlainSandbox):
    async def exit_reason(self) -> Exited | None:
        raise SandboxLost("gone")


class Fresh:
    """Sandboxes of one kind. The second of the first notebook finds a file that tells it apart."""

    def __init__(self, plain: PlainSandboxes, kind: type[PlainSandbox]) -> None:
        self._plain, self._kind = plain, kind
        self.environment_digest = "fresh"
        self.lent = 0

    @asynccontextmanager
    async def __call__(self, *, files: Mapping[str, bytes], kernel: str) -> AsyncIterator[PlainSandbox]:
        self.lent += 1
        async with self._plain(files={**files, **({"second": b""} if self.lent > 1 else {})}, kernel=kernel) as sandbox:
            yield self._kind(sandbox.folder, sandbox.pid, await sandbox.client())


class Unexplained(PlainSandbox):
    async def exit_reason(self) -> Exited | None:
        return None


@pytest.mark.parametrize("kind", [Killed, Lost, Unexplained])
async def test_a_kernel_that_ended_through_no_known_fault_is_replaced_once(kind: type[PlainSandbox], plain) -> None:
    fresh = Fresh(plain, kind)
    graded = await engine.grade(spec(), handed_in(ENDS_ONCE), fresh)
    assert graded.failures == ()
    assert scores(graded, "p") == WHOLE
    assert notes(graded) == [{"code": "kernel_replaced"}]
    assert fresh.lent == 3


async def test_code_that_kills_its_kernel_every_time_is_scored_as_far_as_it_ran(plain) -> None:
    fresh = Fresh(plain, Killed)
    graded = await engine.grade(spec(), handed_in(ENDS), fresh)
    assert [(f.notebook, f.code) for f in graded.failures] == [("p", "kernel_killed")]
    assert scores(graded, "p") == IN_PART
    assert [note["code"] for note in notes(graded)] == ["kernel_replaced", "scored_in_part", "graded_after_failure"]
    assert fresh.lent == 3
    # The record has both runs.
    assert [row["cell"] for row in graded.notebooks[0].record] == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("why", ["exited", "out_of_memory", "deadline", "disk_full"])
async def test_what_code_would_do_again_is_not_run_again(why: str, plain) -> None:
    class Ended(PlainSandbox):
        async def exit_reason(self) -> Exited | None:
            return None if await self.alive() else Exited(why)

    fresh = Fresh(plain, Ended)
    graded = await engine.grade(spec(), handed_in(ENDS_ONCE), fresh)
    assert [(f.notebook, f.code) for f in graded.failures] == [("p", f"kernel_{why}")]
    assert fresh.lent == 2


async def test_in_strict_mode_nothing_is_run_twice(plain) -> None:
    fresh = Fresh(plain, Killed)
    graded = await engine.grade(spec(salvage=False), handed_in(ENDS_ONCE), fresh)
    assert [(f.notebook, f.code) for f in graded.failures] == [("p", "kernel_killed")]
    assert fresh.lent == 1


async def test_a_sandbox_that_is_lost_twice_is_nobodys_fault_and_the_submission_waits(plain) -> None:
    with pytest.raises(SandboxLost):
        await engine.grade(spec(), handed_in(ENDS), Fresh(plain, Lost))
