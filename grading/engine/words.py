"""A teacher's own words in the source of a test: all that it may say to a student after a hidden test has run.

What a test prints and the message of an error come from a process in which code of the student runs. Only what stands
as a text in the released cell is nobody else's; of a text with values in it, the values are left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

#: A test says so to the student: printed, or as the message of an assertion, also by a hidden test.
SAYS = "FEEDBACK:"
#: Stands where a value stood.
GAP = "…"
# Where `%` and `str.format` put values, and a shell its variables.
_HOLE = re.compile(r"%(?:\(\w+\))?[-+ #0]*\d*(?:\.\d+)?[sdrifgxe]|\{[^{}]*\}|\$\w+|\$\{[^}]*\}")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"|' + r"'((?:[^'\\\n]|\\.)*)'")
_MAGIC = re.compile(r"^(\s*)[%!?].*$", re.MULTILINE)

# A text, None where a value goes.
type _Parts = tuple[str | None, ...]


@dataclass(frozen=True)
class _Text:
    parts: _Parts
    first_line: int
    last_line: int

    @property
    def shown(self) -> str:
        return "".join(GAP if part is None else part for part in self.parts)


class Words:
    """The texts of one cell. `hidden` are the numbers of its hidden lines."""

    def __init__(self, source: str, hidden: Container[int]) -> None:
        self._texts = list(_texts(source))
        self._hidden = hidden

    def printed(self, lines: Iterable[str]) -> list[str]:
        """Those texts for students that are among the printed lines, each once and in the order of the source."""
        said = [line.strip() for line in lines]
        found: dict[str, None] = {}
        for text in self._texts:
            for one in _line_by_line(text):
                if one.shown.startswith(SAYS) and any(_fits(one.parts, line) for line in said):
                    found[one.shown] = None
        return list(found)

    def message(self, text: str) -> str:
        """The message of an error, if it is a text of the cell that students see, or one for students; else ""."""
        for one in self._texts:
            visible = one.shown != GAP and not any(n in self._hidden for n in range(one.first_line, one.last_line + 1))
            if (visible or one.shown.startswith(SAYS)) and _fits(one.parts, text.strip()):
                return one.shown
        return ""


def _texts(source: str) -> Iterator[_Text]:
    try:
        tree = ast.parse(_MAGIC.sub(r"\1pass", source))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        # Another language, or IPython's own: what is quoted.
        for number, line in enumerate(source.split("\n"), 1):
            for quoted in _QUOTED.finditer(line):
                yield from _with_gaps(quoted[1] or quoted[2] or "", number, number)
    else:
        yield from _in_tree(tree)


def _in_tree(node: ast.AST) -> Iterator[_Text]:
    parts: _Parts = ()
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
        # print puts a blank between its arguments.
        parts = tuple(part for number, one in enumerate(node.args) for part in ((" ",) * (number > 0) + _parts(one)))
    elif isinstance(node, ast.JoinedStr | ast.BinOp):
        parts = _parts(node)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from _with_gaps(node.value, node.lineno, node.end_lineno or node.lineno)
    if any(parts):
        yield _Text(_merged(parts), node.lineno, node.end_lineno or node.lineno)  # type: ignore[attr-defined]
    if not isinstance(node, ast.JoinedStr):
        for child in ast.iter_child_nodes(node):
            yield from _in_tree(child)


def _with_gaps(text: str, first_line: int, last_line: int) -> Iterator[_Text]:
    """The text as it is, and as it would be with values in it."""
    yield _Text((text.strip(),), first_line, last_line)
    pieces = _HOLE.split(text)
    if len(pieces) > 1:
        parts = [part for number, piece in enumerate(pieces) for part in ((None,) * (number > 0) + (piece,))]
        yield _Text(_merged(parts), first_line, last_line)


def _parts(node: ast.expr) -> _Parts:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return (node.value,)
    if isinstance(node, ast.JoinedStr):
        return tuple(part for value in node.values for part in _parts(value))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _parts(node.left) + _parts(node.right)
    return (None,)


def _merged(parts: Iterable[str | None]) -> _Parts:
    """Texts beside each other as one, values beside each other as one, no blanks at the ends."""
    made: list[str | None] = []
    for part in parts:
        if part == "":
            continue
        if made and part is None and made[-1] is None:
            continue
        if made and part is not None and made[-1] is not None:
            made[-1] += part
        else:
            made.append(part)
    if made and made[0] is not None:
        made[0] = made[0].lstrip()
    if made and made[-1] is not None:
        made[-1] = made[-1].rstrip()
    return tuple(made)


def _line_by_line(text: _Text) -> Iterator[_Text]:
    line: list[str | None] = []
    for part in text.parts:
        first, *more = (part or "").split("\n")
        line.append(first if part is not None else None)
        for piece in more:
            yield _Text(_merged(line), text.first_line, text.last_line)
            line = [piece]
    yield _Text(_merged(line), text.first_line, text.last_line)


def _fits(parts: _Parts, text: str) -> bool:
    """Whether the text is this one, with anything where values go."""
    at, open_end = 0, False
    for number, part in enumerate(parts):
        if part is None:
            open_end = True
            continue
        last = number == len(parts) - 1
        found = (text.rfind(part, at) if last else text.find(part, at)) if open_end else at
        if found < at or not text.startswith(part, found):
            return False
        at, open_end = found + len(part), False
    return bool(parts) and (open_end or at == len(text))
