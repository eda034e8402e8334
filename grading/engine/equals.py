"""Runs in the kernel, as text that the grader sends once at the end: what of the notebook is equal to anything.

Standard library only, and nothing that a score depends on comes after it: code of the notebook is called here. Values
of libraries are asked only where that is quick and answers with a truth: arrays and tables compare element by element.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, WrapperDescriptorType
from typing import Any

# Nobody's notebook has these. Whatever is equal to all of a kind is equal to the kind; four numbers in a row, so that
# counting modulo something small is no equality to all.
_KINDS: dict[str, tuple[Any, ...]] = {
    "anything": (object(),),
    "int": (918273640, 918273641, 918273642, 918273643),
    "float": (9182.7364, -0.1827, 736451.5),
    "str": ("nobody's text", "nor this one", "0x918273"),
    "list": ([918273640], ["nobody's", 3]),
    "tuple": ((918273640,), ("nobody's", 3)),
    "dict": ({"nobody's": 918273640}, {9182: 3, 7364: 4}),
    "set": ({918273640}, {"nobody's", 3}),
}
_CONTAINERS = (list, tuple, set, frozenset, dict)
_MOST_IN_ONE, _DEEPEST = 50, 2
_TRUTHS = (int, float, str, list, tuple)


def equal_to_anything() -> dict[str, str]:
    """name → what it is equal to: classes made in the notebook, and values that its names lead to."""
    found: dict[str, str] = {}
    for cls in _classes():
        if "__eq__" in vars(cls) and (blank := _blank(cls)) is not None and (kind := _equal(blank)):
            found[cls.__qualname__] = kind
    for name, value in list(sys.modules["IPython"].get_ipython().user_ns.items()):
        kinds = [kind for one in _reached(value, set()) if _may_be_asked(one) and (kind := _equal(one))]
        if kinds or _names_any(value):
            found.setdefault(name, kinds[0] if kinds else "anything")
    return found


def _classes() -> Iterator[Any]:
    """Those made in the notebook."""
    seen: set[int] = set()
    waiting: list[Any] = [object]
    while waiting:
        for each in type.__subclasses__(waiting.pop()):
            if id(each) not in seen and each is not type:
                seen.add(id(each))
                waiting.append(each)
                if each.__module__ == "__main__":
                    yield each


def _blank(cls: Any) -> Any:
    """An instance that was given nothing, made by the first base that is not the notebook's; None if it cannot be."""
    for base in cls.__mro__:
        if "__new__" in vars(base) and base.__module__ != "__main__":
            try:
                return base.__new__(cls)
            except Exception:  # noqa: BLE001 - some bases want more
                return None
    return None


def _reached(value: Any, asked: set[int], depth: int = 0) -> Iterator[Any]:
    """The value, and what is in it: a list of such values, or a function that gives one."""
    if id(value) in asked:
        return
    asked.add(id(value))
    yield value
    inner: list[Any] = []
    if type(value) in _CONTAINERS:
        inner = list(value.values() if type(value) is dict else value)
    elif isinstance(value, FunctionType) and value.__module__ == "__main__":
        inner = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        inner += [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
    if depth < _DEEPEST:
        for one in inner[:_MOST_IN_ONE]:
            yield from _reached(one, asked, depth + 1)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _may_be_asked(value: Any) -> bool:
    """Whether its == is written in Python and is not that of an array or a table."""
    cls = type(value)
    equals = next((vars(base)["__eq__"] for base in cls.__mro__ if "__eq__" in vars(base)), None)
    arrays = any(hasattr(cls, name) for name in ("__array__", "__array_ufunc__", "__dataframe__"))
    return not (equals is None or isinstance(equals, WrapperDescriptorType) or arrays)


def _equal(value: Any) -> str:
    """The kind that it is equal to, "" for none."""
    equals: Any = type(value).__eq__
    return next((kind for kind, samples in _KINDS.items() if all(_says_so(equals, value, s) for s in samples)), "")


def _says_so(equals: Any, value: Any, other: Any) -> bool:
    try:
        said = equals(value, other)
        mine = isinstance(said, _TRUTHS) or type(said).__module__ == "__main__"
        return said is not NotImplemented and mine and bool(said)
    except Exception:  # noqa: BLE001 - the notebook's own code
        return False


def _names_any(value: Any) -> bool:
    """Whether a function of the notebook says `unittest.mock.ANY`, which it may give back."""
    mock = sys.modules.get("unittest.mock")
    if mock is None or not isinstance(value, FunctionType) or value.__module__ != "__main__":
        return False
    return "ANY" in value.__code__.co_names and value.__globals__.get("ANY", mock.ANY) is mock.ANY
