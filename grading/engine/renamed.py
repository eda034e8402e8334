"""Notebooks that were handed in under another name, recognised by their cells. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from grading.engine.contract import NotebookSpec
from grading.engine.generate import is_notebook
from grading.engine.layout import likeness
from grading.engine.read import Unreadable, read

# A file with fewer of the release's graded cells may be anything.
_LEAST_LIKENESS = 0.5


def renamed(notebooks: Mapping[str, NotebookSpec], submitted: Mapping[str, bytes]) -> dict[str, str]:
    """Released name → path of the file that is most like it, for those that are not there; each file once."""
    missing = {name: spec for name, spec in notebooks.items() if f"{name}.ipynb" not in submitted}
    known = {f"{name}.ipynb" for name in notebooks}
    strangers = [path for path in sorted(submitted) if is_notebook(path) and path not in known] if missing else []
    likest: list[tuple[float, str, str]] = []
    for path in strangers:
        try:
            notebook = read(submitted[path])
        except Unreadable:
            continue
        for name, spec in missing.items():
            likest.append((-likeness(spec.cells.get("layout", ()), notebook), path, name))
    found: dict[str, str] = {}
    for unlike, path, name in sorted(likest):
        if -unlike >= _LEAST_LIKENESS and name not in found and path not in found.values():
            found[name] = path
    return found
