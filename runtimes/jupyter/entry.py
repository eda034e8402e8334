"""Who is at the door: the workspace of a host and the person whose credential a request carries."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from runtimes.jupyter.hooks import Mode

Scope = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """The workspace that a host stands for. `read_only` holds for everyone, whatever their access."""

    workspace_id: int
    slug: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A person inside a workspace. `mode` is the lesser of what their ticket, their access and the workspace allow."""

    place: Place
    subject: str
    display_name: str
    mode: Mode
    language: str
    theme: str

    @property
    def workspace_id(self) -> int:
        return self.place.workspace_id

    @property
    def slug(self) -> str:
        return self.place.slug

    @property
    def may_write(self) -> bool:
        return self.mode == "write"


def entry_of(scope: Mapping[str, Any]) -> Entry:
    """The entry that the gate put into an ASGI scope. KeyError means that a route is served outside the gate."""
    entry: Entry = scope["state"]["entry"]
    return entry


def place_of(scope: Mapping[str, Any]) -> Place:
    """The workspace that the gate found for the scope's host."""
    place: Place = scope["state"]["place"]
    return place


def header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """The first value of a header, or None. ASGI header names are lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None
