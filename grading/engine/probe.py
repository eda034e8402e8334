"""Runs in the kernel, as text that the grader sends: which objects are where tests rely on them.

Standard library only. It says what is there and judges nothing: `watch.py` compares, outside. Code in the same process
can forge the answer; what it replaced clumsily, as known attacks do, is seen.
"""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

_LISTS = ("input_transformers_post", "input_transformers_cleanup", "ast_transformers", "custom_exceptions")
_TRANSFORMS = ("cleanup_transforms", "line_transforms", "token_transformers")
_HELPERS = {
    "unittest.case": ("TestCase",),
    "numpy": ("allclose", "array_equal", "isclose"),
    "numpy.testing": ("assert_",),
    "pandas.testing": ("assert_",),
    "math": ("isclose",),
}


def look(equal: dict[str, str]) -> str:
    """JSON: name → [identity, whose]; of `equal`, what was found at the end to be equal to what, as [what, "=="]."""
    found = {name: mark(value) for name, value in _watched()}
    found |= {f"== {name}": [kind, "=="] for name, kind in equal.items()}
    return json.dumps(found)


def mark(value: Any) -> list[str]:
    """Which object this is, down to its code, and the module whose code it is."""
    if isinstance(value, list | tuple):
        parts = [mark(one) for one in value]
        return [",".join(part[0] for part in parts), next((p[1] for p in parts if p[1] == "__main__"), "")]
    plain = getattr(value, "__func__", value)
    code = getattr(plain, "__code__", None)
    return [f"{id(plain)}:{id(code)}", str(getattr(plain, "__module__", "") or type(plain).__module__)]


def _watched() -> Iterator[tuple[str, Any]]:
    shell = sys.modules["IPython"].get_ipython()
    for name, owner in (("ip", shell), ("kernel", getattr(shell, "kernel", None))):
        yield from _methods(name, owner)
    for name in _LISTS:
        yield f"ip.{name}", list(getattr(shell, name, ()))
    for name in _TRANSFORMS:
        yield f"ip.input_transformer_manager.{name}", list(getattr(shell.input_transformer_manager, name, ()))
    for event, callbacks in shell.events.callbacks.items():
        # Libraries hook in here in all honesty (matplotlib draws figures so): only the notebook's own are of interest.
        yield f"ip.events.{event}", [one for one in callbacks if mark(one)[1] == "__main__"]
    for name in ("excepthook", "displayhook", "stdout", "stderr"):
        yield f"sys.{name}", getattr(sys, name)
        yield from _methods(f"sys.{name}", getattr(sys, name))
    yield "sys.settrace", sys.gettrace()
    yield "sys.setprofile", sys.getprofile()
    yield from ((f"builtins.{name}", value) for name, value in vars(builtins).items() if not name.startswith("_"))
    yield from _helpers()


def _methods(name: str, owner: object) -> Iterator[tuple[str, Any]]:
    for each in dir(type(owner)):
        if isinstance(getattr(type(owner), each, None), FunctionType):
            yield f"{name}.{each}", getattr(owner, each, None)


def _helpers() -> Iterator[tuple[str, Any]]:
    for module, names in _HELPERS.items():
        for name, value in list(vars(sys.modules[module]).items()) if module in sys.modules else ():
            if name.startswith(names) and callable(value):
                yield f"{module}.{name}", value
                if isinstance(value, type):
                    yield from ((f"{module}.{name}.{k}", v) for k, v in vars(value).items() if k.startswith("assert"))
