"""A notebook as safe pieces of a page. Nothing of it can run, load anything, or leave its frame."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from grading.markdown import clean_markdown
from grading.outputs import RenderedOutput, render_output

_SOURCE_CHARACTERS = 200_000
_FORMATTER = HtmlFormatter(nowrap=True, classprefix="tok-")


@dataclass(frozen=True)
class RenderedCell:
    """One cell. `source` is text as written; `html` is that text, highlighted or formatted, safe to put in a page."""

    number: int
    cell_type: str
    grade_id: str
    source: str
    html: SafeString
    execution_count: int | None = None
    outputs: tuple[RenderedOutput, ...] = ()


def render(
    content: bytes | Mapping[str, Any], files: Mapping[str, bytes] | None = None, *, nonce: str = ""
) -> list[RenderedCell]:
    """The cells of a notebook (its file, or its parsed JSON) in order; a file that is no notebook has none.

    `files` are the notebook's neighbours, for images that Markdown refers to. `nonce` is the page's CSP nonce: an
    output's frame inherits the page's policy, and its own style sheet needs it.
    """
    notebook = content if isinstance(content, Mapping) else _parsed(content)
    cells = notebook.get("cells")
    rendered = []
    for number, cell in enumerate(cells if isinstance(cells, list) else [], 1):
        if isinstance(cell, dict):
            rendered.append(_cell(number, cell, files or {}, nonce))
    return rendered


def _parsed(content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def text_of(value: Any) -> str:
    """Multi-line strings are lists of lines in notebook files (nbformat 4)."""
    if isinstance(value, list):
        return "".join(map(str, value))
    return "" if value is None else str(value)


def _cell(number: int, cell: dict[str, Any], files: Mapping[str, bytes], nonce: str) -> RenderedCell:
    kind, source = str(cell.get("cell_type", "raw")), text_of(cell.get("source"))[:_SOURCE_CHARACTERS]
    meta = cell.get("metadata") or {}
    about = meta.get("nbgrader") if isinstance(meta, dict) else None
    count = cell.get("execution_count")
    return RenderedCell(
        number=number,
        cell_type=kind,
        grade_id=str((about or {}).get("grade_id", "")) if isinstance(about, dict) else "",
        source=source,
        html=_html(kind, source, cell.get("attachments"), files),
        execution_count=count if isinstance(count, int) else None,
        outputs=tuple(_outputs(cell.get("outputs"), nonce)) if kind == "code" else (),
    )


def _html(kind: str, source: str, attachments: Any, files: Mapping[str, bytes]) -> SafeString:
    if kind == "markdown":
        return clean_markdown(source, attachments if isinstance(attachments, dict) else {}, files)
    if kind == "code":
        # Pygments escapes everything that it does not write itself.
        return SafeString(highlight(source, PythonLexer(stripnl=False), _FORMATTER))
    return escape(source)


def _outputs(outputs: Any, nonce: str) -> Iterator[RenderedOutput]:
    for output in outputs if isinstance(outputs, list) else []:
        if isinstance(output, dict):
            made = render_output(output, nonce)
            if made is not None:
                yield made
