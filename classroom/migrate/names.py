"""Pure: nbgrader's names of assignments and the site's short names, each made from the other."""

from __future__ import annotations

import re

from django.utils.text import slugify

_SLUG = re.compile(r"[-a-zA-Z0-9_]{1,60}")
# What nbgrader takes as the name of an assignment: it is a folder's name, and nbgrader forbids "+" in it.
_NAME = re.compile(r"[^/\\+\x00-\x1f.][^/\\+\x00-\x1f]{0,127}")


def short_name(name: str) -> str:
    """The short name for an assignment of nbgrader's: its own if an address can hold it; "" where none is left."""
    return name if _SLUG.fullmatch(name) else slugify(name.replace(".", "-"))[:60].strip("-")


def folder_name(slug: str, title: str) -> str:
    """What nbgrader calls an assignment of ours: the title where that is the name it was imported under."""
    fits = _NAME.fullmatch(title) and title == title.strip() and short_name(title) == slug
    return title if fits else slug
