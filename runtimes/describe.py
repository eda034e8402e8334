"""What to tell people about a runtime or a kernel, in the reader's language, from the row alone."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext, override
from django.utils.translation import gettext_lazy as _

from runtimes import queue
from runtimes.models import Kernel, Runtime
from runtimes.status import REASON_SENTENCES, Reason

NAMES_TOLD = 5
_STARTING = _("Starting.")
_STOPPING = _("Stopping. Your files are being kept.")


def source_text(sentence: str | Promise) -> str:
    """A translatable sentence as it stands in the source: what a row keeps, so that each reader gets their language."""
    with override(None):
        return str(sentence)


def sentence(row: Runtime | Kernel, position: int | None = None) -> str:
    """Why it is in its state and what to do next; "" when there is nothing to say. position: its place in the queue,
    where the caller knows it."""
    if isinstance(row, Runtime):
        if queue.waits(row):
            return _queue_sentence(position or queue.queue_position(row), row.reason)
        if row.state == Runtime.State.STARTING and not row.reason:
            return str(_STARTING)
        if row.state == Runtime.State.STOPPING:
            return str(_STOPPING)
    return because(row.reason, row.message)


def because(reason: str, message: str) -> str:
    """The sentence of a reason, or of an error the row's own message where it has one."""
    if message and reason in ("", Reason.ERROR):
        return gettext(message)
    try:
        return str(REASON_SENTENCES[Reason(reason)])
    except (KeyError, ValueError):
        return gettext(message) if message else ""


def not_kept(left_out: Mapping[str, str]) -> list[str]:
    """A sentence for each reason in `left_out` (path → why, as in the source), with the first few names."""
    by_reason: dict[str, list[str]] = {}
    for path, why in sorted(left_out.items()):
        by_reason.setdefault(why, []).append(path)
    return [
        gettext("Not kept: %(names)s. %(why)s") % {"names": _names(paths), "why": gettext(why)}
        for why, paths in by_reason.items()
    ]


def _names(paths: list[str]) -> str:
    names = ", ".join(paths[:NAMES_TOLD])
    more = len(paths) - NAMES_TOLD
    if more <= 0:
        return names
    return ngettext("%(names)s and %(more)d more", "%(names)s and %(more)d more", more) % {"names": names, "more": more}


def _queue_sentence(position: int, reason: str) -> str:
    """The place, then what a seat depends on."""
    place = (
        gettext("Next in the queue.")
        if position <= 1
        else gettext("Number %(position)d in the queue.") % {"position": position}
    )
    return f"{place} {because(reason, '') or gettext('It starts by itself when a place is free.')}"
