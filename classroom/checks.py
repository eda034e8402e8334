"""System checks: what is wrong with the settings, numbered, with what to do. Run by every management command."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Caution
from django.db import connection
from django.utils.module_loading import import_string

from classroom import dumps
from runtimes import blobs
from runtimes.errors import DATABASE_AWAY, StorageAway

#: The tag of these checks: all that a command needs which serves no page (`requires_system_checks`). What else Django
#: checks loads every page, and with them nbgrader.
SITE = "pupitre"

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# sockaddr_un.sun_path holds 108 bytes with its NUL (unix(7)); the longest name below RUN_DIR takes about 50.
MOST_RUN_DIR_BYTES = 57
NAMES_OF_CLASSES = ("RUNTIME_PROVIDER", "DRIVE_BACKEND")
MAY_BE_EMPTY = {"DRIVE_BACKEND"}
FEWEST_SECRET_CHARACTERS = 32


@register(SITE)
def check_origins(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Pages and notebooks must be different sites to a browser, and encrypted beyond this machine."""
    site, notebooks = urlsplit(settings.SITE_ORIGIN), urlsplit(settings.NOTEBOOK_ORIGIN)
    for name, origin in (("SITE_ORIGIN", site), ("NOTEBOOK_ORIGIN", notebooks)):
        if origin.scheme not in {"http", "https"} or not origin.netloc or origin.path or origin.query:
            yield Error(
                f"{name} is not an origin.",
                hint=f"Set {name} to scheme://host:port, nothing after it.",
                id="pupitre.E001",
            )
    if not notebooks.netloc.startswith("*."):
        yield Error(
            "NOTEBOOK_ORIGIN has no place for the workspace.",
            hint="Set it to something like https://*.notebooks.example: each workspace is a host of its own.",
            id="pupitre.E002",
        )
    site_host, domain = site.hostname or "", (notebooks.hostname or "").removeprefix("*.")
    if site_host == domain or site_host.endswith(f".{domain}"):
        yield Error(
            "The site lies below the notebook domain, so a notebook could read its cookies.",
            hint="Serve notebooks from a domain of their own.",
            id="pupitre.E003",
        )
    if site.scheme == "http" and site_host not in LOOPBACK:
        yield Error(
            "People would sign in without encryption.",
            hint="Set SITE_ORIGIN and NOTEBOOK_ORIGIN to https://… and let a proxy or ingress terminate TLS.",
            id="pupitre.E004",
        )
    if site.scheme != notebooks.scheme:
        yield Error("SITE_ORIGIN and NOTEBOOK_ORIGIN differ in scheme.", hint="Use https for both.", id="pupitre.E005")


@register(SITE)
def check_places(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Folders must be writable, and short enough for the sockets in them."""
    length = len(os.fsencode(settings.RUN_DIR))
    if length > MOST_RUN_DIR_BYTES:
        yield Error(
            f"RUN_DIR is {length} bytes long; Unix sockets below it allow {MOST_RUN_DIR_BYTES}.",
            hint="Set RUN_DIR to a short path on a local file system, for example /run/pupitre.",
            id="pupitre.E010",
        )
    if settings.DATA_DIR.exists() and not os.access(settings.DATA_DIR, os.W_OK):
        yield Error(
            f"DATA_DIR ({settings.DATA_DIR}) cannot be written to.",
            hint="Give the folder to the user that runs the site, or set DATA_DIR to another one.",
            id="pupitre.E011",
        )


@register(SITE)
def check_secrets(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Short secrets can be guessed; half of Google's pair signs nobody in."""
    masters = [("MASTER_KEY", key) for key in (settings.MASTER_KEY, *settings.MASTER_KEYS_BEFORE.values())]
    for name, key in [("SECRET_KEY", settings.SECRET_KEY), *masters]:
        if len(key) < FEWEST_SECRET_CHARACTERS:
            yield Error(
                f"{name} is shorter than {FEWEST_SECRET_CHARACTERS} characters.",
                hint="Make one with: python -c 'import secrets; print(secrets.token_hex(32))'",
                id="pupitre.E020",
            )
    if bool(settings.GOOGLE_CLIENT_ID) != bool(settings.GOOGLE_CLIENT_SECRET):
        yield Error(
            "Only one of GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET is set.",
            hint="Set both to sign in with Google, or neither.",
            id="pupitre.E021",
        )


@register(SITE)
def check_engines(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Named classes must exist, and PostgreSQL usually comes with Redis."""
    named = {name: getattr(settings, name) for name in NAMES_OF_CLASSES}
    for name in [name for name, path in named.items() if path or name not in MAY_BE_EMPTY]:
        try:
            import_string(named[name])
        except ImportError as error:
            yield Error(
                f"{name} cannot be imported: {error}.", hint="Give the dotted path of a class.", id="pupitre.E030"
            )
    embedded = connection.vendor == "sqlite"
    if not embedded and not settings.REDIS_URL:
        yield Caution(
            "PostgreSQL without Redis: processes wake each other by sockets, so all must run on this machine.",
            hint="Set REDIS_URL when processes run on several machines.",
            id="pupitre.W031",
        )
    if embedded and settings.REDIS_URL:
        yield Caution(
            "Redis with SQLite: the database is a file of this machine.",
            hint="Set DATABASE_URL when processes run on several machines.",
            id="pupitre.W032",
        )


@register(SITE, deploy=True)
def check_storage(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterable[CheckMessage]:
    """What people's files are to lie in must answer; asked with `--deploy` alone, since it goes over a network."""
    try:
        next(blobs.stored(), None)
    except StorageAway as error:
        yield Error(
            f"WORK_STORAGE does not let the site in: {error}",
            hint="Compare bucket, region and endpoint_url; this identity must be let list, get, put and delete there.",
            id="pupitre.E040",
        )


@register(SITE, deploy=True)
def check_backups(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterable[CheckMessage]:
    """A database that cannot be backed up is told of before the night in which it should have been."""
    with suppress(*DATABASE_AWAY):
        if refusal := dumps.older_clients():
            yield Error(
                f"There can be no backup. {refusal}",
                hint="Do so before the first night, or take a server of the programs' version or older.",
                id="pupitre.E041",
            )
