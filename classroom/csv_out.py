"""CSV that a spreadsheet shows and never runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from django.http import HttpResponse
from django.utils import timezone

# What makes a spreadsheet take a cell for a formula (OWASP, CSV injection), with the full-width forms of the signs.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

type Cell = str | int | float | Decimal | datetime | None


def escape(value: Cell) -> str:
    """The cell's text; text that a spreadsheet would run begins with an apostrophe. Numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return timezone.localtime(value).isoformat(timespec="seconds")
    if isinstance(value, str):
        return "'" + value if value.lstrip(" ").startswith(_FORMULA) else value
    return str(value)


def unescape(text: str) -> str:
    """Takes back the apostrophe that `escape` put before a formula."""
    return text[1:] if text.startswith("'") and text[1:].lstrip(" ").startswith(_FORMULA) else text


def download(name: str, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> HttpResponse:
    """An attachment in UTF-8 with a byte order mark, without which Excel takes it for Windows-1252."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([escape(cell) for cell in header])
    writer.writerows([escape(cell) for cell in row] for row in rows)
    response = HttpResponse("\ufeff" + text.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response
