"""Translations as the site reads them. The image of the site compiles them where there are no settings yet."""

from __future__ import annotations

from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po


def compile_translation(source: Path) -> Path:
    """The .mo of one .po, written again if it is older. Babel needs no gettext on the machine."""
    target = source.with_suffix(".mo")
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        with source.open("rb") as stream:
            catalogue = read_po(stream, locale=source.parent.parent.name)
        aside = target.with_suffix(".new")
        with aside.open("wb") as stream:
            write_mo(stream, catalogue)
        aside.replace(target)
    return target
