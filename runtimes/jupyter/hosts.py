"""Host names below the notebook domain: one for the front end's own files, one a workspace."""

from __future__ import annotations

import re

from django.conf import settings

STATIC_LABEL = "static"
# What `models.random_slug` makes. It begins with w, so that no workspace can be called "static".
SLUG = re.compile(r"w[a-z0-9]{1,31}")


def label(host: str) -> str | None:
    """The one label before the notebook domain (port included), lower case; None for any other host."""
    name, dot, domain = host.lower().partition(".")
    return name if dot and domain == settings.NOTEBOOK_DOMAIN.lower() else None


def slug(host: str) -> str | None:
    """The workspace slug that a Host header names, or None."""
    name = label(host)
    return name if name is not None and SLUG.fullmatch(name) else None


def origin(name: str) -> str:
    """The origin of a label: scheme, host and port, as a browser serialises it."""
    return str(settings.NOTEBOOK_ORIGIN).replace("*", name).lower()


def static_origin() -> str:
    """Where the front end's files are: one host for every workspace, so that a browser caches them once."""
    return origin(STATIC_LABEL)
