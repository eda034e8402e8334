"""Which kernels an environment has: Python's, which is ours, and whatever else it holds a kernelspec of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The one that ipykernel installs. Here it is forked warm, whatever its kernel.json says.
PYTHON = "python3"


@dataclass(frozen=True, slots=True)
class Kernelspec:
    """One kernel as a front end names it (jupyter_client, kernelspecs)."""

    name: str
    display_name: str
    language: str


def read(folder: Path) -> dict[str, Kernelspec]:
    """The kernelspecs below `folder` beside Python's, by name. What is none is left out."""
    return {spec.name: spec for spec in _all(folder) if spec.name != PYTHON}


def _all(folder: Path) -> Iterator[Kernelspec]:
    for file in sorted(folder.glob("*/kernel.json")):
        try:
            spec: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if spec["argv"]:
                name = file.parent.name
                yield Kernelspec(name, str(spec.get("display_name", name)), str(spec.get("language", "")).lower())
        except (OSError, ValueError, KeyError, TypeError):
            continue
