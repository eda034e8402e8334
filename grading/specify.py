"""A stored release as the engine's spec, and the engine's findings as rows."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from grading import cells
from grading.engine import Limits, NotebookSpec, Settings, Spec
from grading.models import GradeCell, LineItem, Release, ReleaseCheck, ReleaseNotebook
from runtimes import provider, storage

#: Files of the course that nbgrader needs to make the student's version. Students never get them.
COURSE_FOLDER = ".course/"
# Few names, so that few fork servers serve many assignments.
_LARGE = frozenset({"matplotlib", "numpy", "pandas", "scipy", "sklearn"})
_HEADER, _FOOTER, _AUTOTESTS = (COURSE_FOLDER + name for name in ("header.ipynb", "footer.ipynb", "autotests.yml"))


def settings_of(line_item: LineItem, release_settings: Mapping[str, object], source: Mapping[str, bytes]) -> Settings:
    """How this assignment is generated and graded."""
    traits = release_settings.get("traits", {})
    return Settings(
        traits=traits if isinstance(traits, dict) else {},
        header=source.get(_HEADER),
        footer=source.get(_FOOTER),
        autotests=source.get(_AUTOTESTS),
        limits=Limits(
            cell_seconds=max(1, int(line_item.cell_timeout.total_seconds())),
            wall_seconds=line_item.wall_timeout.total_seconds(),
            output_bytes=line_item.output_bytes,
        ),
        salvage=not line_item.strict_nbgrader,
        heal=line_item.heal and not line_item.strict_nbgrader,
        warnings_cost=line_item.warnings_cost or line_item.strict_nbgrader,
    )


def settings_to_make(
    line_item: LineItem, release_settings: Mapping[str, object], source: Mapping[str, bytes]
) -> Settings:
    """`settings_of`, with the kernels that a new release may be for: those of the machine that grades it."""
    kernels = tuple(sorted(provider.get().kernelspecs(line_item.profile.environment)))
    return replace(settings_of(line_item, release_settings, source), kernels=kernels)


def assignment_files(source: Mapping[str, bytes]) -> dict[str, bytes]:
    """The source without the course's own files."""
    return {path: data for path, data in source.items() if not path.startswith(COURSE_FOLDER)}


def spec_of(release: Release, *, written_for: int | None = None) -> Spec:
    """Everything that grading needs of a release. Reads rows and blobs.

    `written_for` is the primary key of the release that the student was given.
    """
    source = storage.read_snapshot(release.source)
    notebooks = {
        row.name: NotebookSpec(row.name, row.path, row.kernelspec, row.cells) for row in release.notebooks.all()
    }
    files = {path: data for path, data in assignment_files(source).items() if not path.endswith(".ipynb")}
    given = ReleaseNotebook.objects.filter(release=written_for) if written_for not in (None, release.pk) else ()
    return Spec(
        notebooks,
        files,
        settings_of(release.line_item, release.engine_settings, source),
        {row.name: row.cells["layout"] for row in given if "layout" in row.cells},
        _numbers(release),
    )


def _numbers(release: Release) -> dict[str, set[str]]:
    """By notebook, the tests that ended with a number when the solution was run."""
    found: dict[str, set[str]] = {}
    for results in ReleaseCheck.objects.filter(release=release).values_list("results", flat=True):
        for row in results:
            if "number" in row:
                found.setdefault(row["notebook"], set()).update([row["grade_id"]] if row["number"] else [])
    return found


def store_notebooks(release: Release, notebooks: Iterable[NotebookSpec]) -> None:
    """Replaces the notebooks and cells of a release that nobody has seen yet. Belongs in a transaction."""
    release.notebooks.all().delete()
    for position, spec in enumerate(notebooks):
        row = ReleaseNotebook.objects.create(
            release=release,
            name=spec.name,
            path=spec.path,
            kernelspec=spec.kernelspec,
            cells=spec.cells,
            position=position,
        )
        GradeCell.objects.bulk_create(
            GradeCell(
                notebook=row,
                grade_id=cell.grade_id,
                kind=cell.kind,
                cell_type=cell.cell_type,
                max_score=cells.points(cell.max_score),
                position=cell.position,
            )
            for cell in spec.graded
        )


def imports_of(spec: Spec) -> tuple[str, ...]:
    """Large libraries that the released cells import, worth loading before a sandbox is forked: a hint."""
    found: set[str] = set()
    for notebook in spec.notebooks.values():
        for source in notebook.cells.get("source", {}).values():
            if source.get("cell_type") == "code":
                found.update(_imports(source.get("source", "")))
    return tuple(sorted(found & _LARGE))


@lru_cache(4096)
def _imports(source: str) -> frozenset[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return frozenset(name.split(".")[0] for name in names)
