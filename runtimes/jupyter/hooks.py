"""What the notebook host must ask of the application above it, as arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

Mode = Literal["write", "read"]


@dataclass(frozen=True)
class Access:
    """What one person may do in one workspace, now. `language` is a BCP 47 tag, `theme` auto, light or dark."""

    mode: Mode
    display_name: str
    language: str = "en"
    theme: str = "auto"


@dataclass(frozen=True)
class Hooks:
    """`access(subject, slug)` is None where the person has no (more) business in the workspace."""

    access: Callable[[str, str], Awaitable[Access | None]]
