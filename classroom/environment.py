"""Reads the process environment for the settings, and says in a sentence what is wrong with a value."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    """The variable's value, or `default`."""
    return os.environ.get(name, default)


def flag(name: str, default: bool = False) -> bool:
    """True for 1, yes, true, on. Raises ImproperlyConfigured for anything but these and 0, no, false, off."""
    value = os.environ.get(name, "").strip().lower()
    if value in {"1", "yes", "true", "on"}:
        return True
    if value in {"0", "no", "false", "off"}:
        return False
    if value == "":
        return default
    raise ImproperlyConfigured(f"{name} is {value!r}. Set it to 1 or 0.")


def number(name: str, default: int) -> int:
    """The variable's value as a whole number, not negative. Raises ImproperlyConfigured for anything else."""
    value = os.environ.get(name, "").strip() or str(default)
    if not value.isdecimal():
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to a whole number.")
    return int(value)


def words(name: str, default: str = "") -> list[str]:
    """The variable's comma-separated words."""
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


def own_folder(name: str, path: Path) -> Path:
    """`path`, whose mode set-up will change. Raises ImproperlyConfigured for one that everybody shares, like /tmp."""
    if path.is_dir() and path.stat().st_mode & stat.S_ISVTX:
        raise ImproperlyConfigured(f"{name} is {path}, which everybody shares. Set it to a folder of its own.")
    return path


def secret_file(folder: Path, name: str) -> str:
    """A secret kept in `folder`/`name` (mode 0600), made on first use: 64 hexadecimal digits."""
    path = folder / name
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
    value = secrets.token_hex(32)
    aside = folder / f".{name}.{secrets.token_hex(4)}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(value)
    try:
        # A link fails where the name exists: of two processes that start at once, one secret wins.
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    return path.read_text().strip()


def versioned_keys(name: str, folder: Path, file: str) -> dict[int, str]:
    """Keys by version, the highest of which is the current one.

    Out of the variable: one key, which is version 1, or several as `2:new 1:old`; no key has a colon. Without it,
    out of `folder`: `file` is version 1, made on first use, and `file.2` and so on follow.
    Raises ImproperlyConfigured."""
    if given := os.environ.get(name, "").split():
        found: dict[int, str] = {}
        for word in given:
            version, colon, key = word.partition(":")
            if not colon and len(given) == 1:
                version, key = "1", word
            if not version.isdecimal() or not key or int(version) in found:
                raise ImproperlyConfigured(f"{name} must be one key, or several with their versions: 2:new 1:old.")
            if ":" in key:
                raise ImproperlyConfigured(
                    f"{name}: the key of version {version} has a colon, which no key may have. Is the version there "
                    "twice? It must be one key, or several with their versions: 2:new 1:old."
                )
            found[int(version)] = key
        return found
    later = {int(path.name.rpartition(".")[2]): path for path in folder.glob(f"{file}.[0-9]*")}
    keys = {version: path.read_text().strip() for version, path in later.items()}
    if not keys or (folder / file).exists():
        keys[1] = secret_file(folder, file)
    return keys


def database(url: str, sqlite_path: Path) -> dict[str, Any]:
    """Django's DATABASES entry for `url` (postgresql://user:password@host:port/name, or empty for SQLite)."""
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": sqlite_path,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;",
            },
            "TEST": {"NAME": str(sqlite_path) + ".test"},
        }
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise ImproperlyConfigured("DATABASE_URL must look like postgresql://user:password@host:5432/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
