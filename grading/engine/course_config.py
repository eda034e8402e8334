"""nbgrader_config.py, read without being run: it is Python, and it comes from somewhere else.

Only assignments of literals to `c.Class.name` are understood; everything else is named, never executed.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grading.engine.contract import ALLOWED_TRAITS

_MOST_BYTES = 1024 * 1024
#: What the site takes over besides `ALLOWED_TRAITS`.
KNOWN: Mapping[str, frozenset[str]] = {
    "CourseDirectory": frozenset(
        {
            "course_id", "root", "db_url", "directory_structure", "source_directory", "release_directory",
            "source_with_tests_directory", "submitted_directory", "autograded_directory", "feedback_directory",
        }
    ),
    "IncludeHeaderFooter": frozenset({"header", "footer"}),
    "Execute": frozenset({"timeout"}),
    "ExecutePreprocessor": frozenset({"timeout"}),
    "LateSubmissionPlugin": frozenset({"penalty_method"}),
    "AssignLatePenalties": frozenset({"plugin_class"}),
}  # fmt: skip


@dataclass(frozen=True)
class CourseConfig:
    """nbgrader's settings by class and name. `remarks` say, with the line, what was not taken over."""

    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def get(self, section: str, name: str, default: Any) -> Any:
        """The value, if it is of the same type as `default`."""
        found = self.values.get(section, {}).get(name, default)
        return found if isinstance(found, type(default)) else default

    @property
    def traits(self) -> dict[str, dict[str, Any]]:
        """What decides how an assignment is generated and graded (`ALLOWED_TRAITS`)."""
        kept = {
            section: {name: value for name, value in values.items() if name in ALLOWED_TRAITS.get(section, ())}
            for section, values in self.values.items()
        }
        return {section: values for section, values in kept.items() if values}

    @property
    def late_policy(self) -> str:
        """nbgrader's penalty_method, "none" or "zero"; "" where a plugin of the course decides."""
        if self.values.get("AssignLatePenalties", {}).get("plugin_class"):
            return ""
        method = str(self.get("LateSubmissionPlugin", "penalty_method", "none"))
        return method if method in {"none", "zero"} else ""

    @property
    def cell_seconds(self) -> int:
        """The limit a cell; nbgrader's own 30 where none is set."""
        return int(self.get("Execute", "timeout", self.get("ExecutePreprocessor", "timeout", 30)))


def read_config(data: bytes) -> CourseConfig:
    """What the file sets. Never raises, never runs anything of it."""
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError("it is too large")  # noqa: TRY301 - handled like every other bad file
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return CourseConfig({}, (f"cannot be read as Python and was left out: {error}"[:300],))
    values: dict[str, dict[str, Any]] = {}
    remarks = [remark for statement in tree.body if (remark := _take(statement, values))]
    return CourseConfig(values, tuple(remarks))


def _take(statement: ast.stmt, values: dict[str, dict[str, Any]]) -> str:
    """Adds what the statement sets; "" or what was not understood."""
    if _is_preamble(statement):
        return ""
    target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
    match target:
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="c"), attr=section), attr=name):
            pass
        case _:
            return f"line {statement.lineno}: only lines like c.Class.name = value are understood"
    assert isinstance(statement, ast.Assign)
    try:
        value = ast.literal_eval(statement.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return f"line {statement.lineno}: c.{section}.{name} is not a plain value"
    if name not in ALLOWED_TRAITS.get(section, ()) and name not in KNOWN.get(section, ()):
        return f"line {statement.lineno}: c.{section}.{name} has no counterpart here"
    values.setdefault(section, {})[name] = value
    return ""


def _is_preamble(statement: ast.stmt) -> bool:
    """Imports, doc strings and `c = get_config()`: nothing that sets anything."""
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id="c")], value=ast.Call(func=ast.Name(id="get_config"))):
            return True
    return False


def write_config(course_id: str, values: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of an nbgrader_config.py with these settings."""
    lines = ["c = get_config()", "", f"c.CourseDirectory.course_id = {course_id!r}"]
    lines += [
        f"c.{section}.{name} = {value!r}"
        for section in sorted(values)
        for name, value in sorted(values[section].items())
    ]
    return "\n".join(lines) + "\n"
