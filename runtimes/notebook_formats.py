"""nbformat and jsonschema, imported once and made cheap: everything that reads notebooks imports both from here.

jsonschema comes without the grammar for internationalised addresses, which takes seconds of a processor to compile at
the start of every process, and which notebook formats do not use. No notebook is judged otherwise for it.
"""

from __future__ import annotations

import sys

_GRAMMAR = "rfc3987_syntax"
_guarded = _GRAMMAR not in sys.modules
if _guarded:
    sys.modules[_GRAMMAR] = None  # type: ignore[assignment]

import jsonschema  # type: ignore[import-untyped]  # noqa: E402
import nbformat  # noqa: E402

if _guarded:
    # Leave no trace: another part of the process may want the real one.
    sys.modules.pop(_GRAMMAR, None)

__all__ = ["jsonschema", "nbformat"]
