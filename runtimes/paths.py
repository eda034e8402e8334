"""Pure: which names a file of a workspace may have."""

from __future__ import annotations

import unicodedata

from runtimes.errors import UnsafePath

MAX_CHARACTERS = 500  # WorkspaceFile.path
MAX_COMPONENT_BYTES = 255  # NAME_MAX, limits.h
# Control, surrogate, line and paragraph separator (Unicode general categories): they break lists, logs and archives.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Bidirectional overrides and isolates make a name read as another one (Unicode TR 36, §2.1).
_FORBIDDEN = frozenset("\\\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What programs inside a runtime write for themselves: never work, never kept.
SYSTEM_NAMES = frozenset(
    {".cache", ".config", ".ipython", ".ipynb_checkpoints", ".jupyter", ".matplotlib", ".npm", "__pycache__"}
)


def safe_path(path: str) -> str:
    """`path` itself, if a file of a workspace may have it: relative, with '/', no '.' or '..'. Raises UnsafePath."""
    if not path or len(path) > MAX_CHARACTERS:
        raise UnsafePath(f"a path has 1 to {MAX_CHARACTERS} characters, not {len(path)}")
    bad = next((c for c in path if c in _FORBIDDEN or unicodedata.category(c) in _FORBIDDEN_CATEGORIES), None)
    if bad is not None:
        raise UnsafePath(f"U+{ord(bad):04X} in a path")
    for component in path.split("/"):
        if component in {"", ".", ".."}:
            raise UnsafePath(f"not a plain relative path: {path[:80]!r}")
        if component != component.strip() or len(component.encode()) > MAX_COMPONENT_BYTES:
            raise UnsafePath(f"a name that begins or ends with a space, or is too long: {component[:80]!r}")
    return path


def parents(path: str) -> list[str]:
    """The folders that `path` lies in, outermost first: `a/b/c` is in `a` and `a/b`."""
    parts = path.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


def is_system(path: str) -> bool:
    """True for caches and settings that programs inside a runtime write for themselves."""
    return not SYSTEM_NAMES.isdisjoint(path.split("/"))
