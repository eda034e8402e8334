"""Settings to nbgrader configuration, and one logger a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from grading.engine.contract import ALLOWED_TRAITS, Settings
from grading.engine.load import Config, NotebookExporter, NotebookNode, PlainExporter
from grading.engine.read import read

_LOG_CHARACTERS = 20_000


class RunLog(logging.Handler):
    """Collects what nbgrader says during one run. Nothing is shared between runs, nor printed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []
        self._left = _LOG_CHARACTERS
        self.logger = logging.Logger("grading.engine", logging.WARNING)  # noqa: LOG001 - kept out of the registry
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line as long as there is room."""
        line = record.getMessage()[: self._left]
        self._left -= len(line)
        if line:
            self._lines.append(f"{record.levelname.lower()}: {line}")

    @property
    def text(self) -> str:
        """Everything that was said."""
        return "\n".join(self._lines)


def config(settings: Settings) -> Config:
    """nbgrader's configuration for these settings; names that are not in `ALLOWED_TRAITS` are left out."""
    made = Config()
    for section, values in settings.traits.items():
        for name, value in values.items():
            if name in ALLOWED_TRAITS.get(section, ()):
                made[section][name] = value
    # Preprocessors read the section of every class that they inherit from.
    made.Execute.timeout = settings.limits.cell_seconds
    return made


def convert(notebook: NotebookNode, parts: Iterable[Any], names: dict[str, str], log: RunLog) -> str:
    """The text that nbgrader's converter writes: the parts in order, validated after each. Raises what they raise."""
    text: str = _exported(NotebookExporter, notebook, parts, names, log)
    return text


def converted(notebook: NotebookNode, parts: Iterable[Any], names: dict[str, str], log: RunLog) -> NotebookNode:
    """`convert`, read again. Raises what the parts raise."""
    return read(_exported(PlainExporter, notebook, parts, names, log).encode())


def _exported(kind: Any, notebook: NotebookNode, parts: Iterable[Any], names: dict[str, str], log: RunLog) -> Any:
    exporter = kind(config=Config({"Exporter": {"default_preprocessors": []}}), log=log.logger)
    for part in parts:
        exporter.register_preprocessor(part)
    resources = {
        "metadata": {"name": names["notebook"], "path": names.get("path", "")},
        "nbgrader": dict(names),
        "unique_key": names["notebook"],
    }
    return exporter.from_notebook_node(notebook, resources=resources)[0]
