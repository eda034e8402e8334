"""nbgrader's own parts, imported once and made cheap. Everything else in the engine imports nbgrader from here.

One change, which cannot alter a score: nbgrader's metadata schemas are read and compiled once instead of once a
notebook (16 ms each).
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from runtimes.notebook_formats import jsonschema
from runtimes.notebook_formats import nbformat as _nbformat

# isort: split
import fastjsonschema
import jinja2
import jinja2.sandbox
import nbgrader
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert.exporters.notebook import NotebookExporter as _NotebookExporter
from nbformat import NotebookNode
from nbformat import validator as _validator
from nbformat.v4.nbjson import BytesEncoder
from nbformat.v4.rwbase import strip_transient
from nbgrader import api as _api
from nbgrader import utils
from nbgrader.api import MissingEntry
from nbgrader.nbgraderformat import (
    SCHEMA_VERSION,
    MetadataValidator,
    SchemaTooNewError,
    SchemaTooOldError,
    common,
)
from nbgrader.nbgraderformat import ValidationError as MetadataError
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    DeduplicateIds,
    Execute,
    IgnorePattern,
    IncludeHeaderFooter,
    InstantiateTests,
    LimitOutput,
    LockCells,
    NbGraderPreprocessor,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
    SaveCells,
    instantiatetests,
)
from traitlets.config import Config

# These libraries publish only a part of their types.
api: Any = _api
nbformat: Any = _nbformat
validator: Any = _validator
NotebookExporter: Any = _NotebookExporter

ENGINE_VERSION = f"nbgrader {nbgrader.__version__}"


class PlainExporter(_NotebookExporter):
    """NotebookExporter for notebooks that are read again at once: the same parts and checks, one copy instead of four,
    and no layout for people (which Python's JSON encoder writes ten times as slowly)."""

    def from_notebook_node(self, nb: Any, resources: Any = None, **_options: Any) -> tuple[str, Any]:
        """The notebook as JSON. Raises what the parts raise."""
        resources = self._init_resources(resources)
        # A copy.
        _changes, nb = _validator.normalize(nb)
        for part in self._preprocessors:
            nb, resources = part(nb, resources)
            self._validate_preprocessor(nb, part)
        return json.dumps(strip_transient(nb), cls=BytesEncoder, ensure_ascii=False), resources


_compiled: dict[int, _Compiled] = {}
_schemas: dict[type, Any] = {}
_read_schema = common.BaseMetadataValidator.__init__


def _validate(instance: Any, schema: Any) -> None:
    """jsonschema.validate without checking and compiling the schema again for every cell. Raises ValidationError."""
    compiled = _compiled.get(id(schema))
    if compiled is None or compiled.schema is not schema:
        compiled = _compiled[id(schema)] = _Compiled(schema)
    compiled.validate(instance)


class _Compiled:
    """A schema as code, which says yes at once, and as jsonschema has it, for the words of a no."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        cls = jsonschema.validators.validator_for(schema)
        cls.check_schema(schema)
        self._slow = cls(schema)
        self._fast = fastjsonschema.compile(schema, use_default=False)

    def validate(self, instance: Any) -> None:
        """Raises jsonschema's ValidationError."""
        try:
            self._fast(instance)
        except fastjsonschema.JsonSchemaValueException:
            error = jsonschema.exceptions.best_match(self._slow.iter_errors(instance))
            if error is not None:
                raise error from None


def _cached_schema(self: Any) -> None:
    cached = _schemas.get(type(self))
    if cached is None:
        _read_schema(self)
        _schemas[type(self)] = self.schema
    else:
        self.schema = cached


if not hasattr(common, "_pupitre_cached"):
    common.jsonschema = SimpleNamespace(validate=_validate, ValidationError=jsonschema.ValidationError)
    common.BaseMetadataValidator.__init__ = _cached_schema
    # Test templates come from a course. Rendered by plain Jinja they could run any code in the worker.
    instantiatetests.j2 = SimpleNamespace(Environment=jinja2.sandbox.SandboxedEnvironment, BaseLoader=jinja2.BaseLoader)
    common._pupitre_cached = True

__all__ = [
    "ENGINE_VERSION",
    "SCHEMA_VERSION",
    "CellTimeoutError",
    "CheckCellMetadata",
    "ClearHiddenTests",
    "ClearMarkScheme",
    "ClearOutput",
    "ClearSolutions",
    "ComputeChecksums",
    "Config",
    "DeadKernelError",
    "DeduplicateIds",
    "Execute",
    "IgnorePattern",
    "IncludeHeaderFooter",
    "InstantiateTests",
    "LimitOutput",
    "LockCells",
    "MetadataError",
    "MetadataValidator",
    "MissingEntry",
    "NbGraderPreprocessor",
    "NotebookExporter",
    "NotebookNode",
    "OverwriteCells",
    "OverwriteKernelspec",
    "PlainExporter",
    "SaveAutoGrades",
    "SaveCells",
    "SchemaTooNewError",
    "SchemaTooOldError",
    "api",
    "nbformat",
    "utils",
    "validator",
]
