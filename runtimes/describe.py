"""What to tell people about a runtime or a kernel, in the reader's language, from the row alone."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext, override
from django.utils.translation import gettext_lazy as _

from runtimes import queue
from runtimes.models import Kernel, Runtime
from runtimes.status import ENDED_SENTENCES, LAST_SAVED, MOVED_SENTENCES, REASON_SENTENCES, Reason
from runtimes.usage import reserved

NAMES_TOLD = 5
_STARTING = _("Starting.")
_STOPPING = _("Stopping. Your files are being kept.")
_NO_IMAGE = _("The software of this machine cannot be fetched, so it does not start. Your files are kept.")


def source_text(sentence: str | Promise) -> str:
    """A translatable sentence as it stands in the source: what a row keeps, so that each reader gets their language."""
    with override(None):
        return str(sentence)


def sentence(row: Runtime | Kernel, position: int | None = None) -> str:
    """Why it is in its state and what to do next; "" when there is nothing to say. position: its place in the queue,
    where the caller knows it. `profile` must be loaded."""
    if isinstance(row, Runtime):
        if queue.waits(row):
            return _waits(row, position)
        if row.state == Runtime.State.STARTING and not row.reason:
            return str(_STARTING)
        if row.state == Runtime.State.STOPPING:
            return str(_STOPPING)
        if row.state == Runtime.State.FAILED and row.reason == Reason.IMAGE_PULL:
            return str(_NO_IMAGE)
    if row.reason == Reason.OUT_OF_MEMORY:
        return out_of_memory(row if isinstance(row, Runtime) else row.runtime)
    return because(row.reason, row.message)


def out_of_memory(runtime: Runtime, *, restarted: bool = False) -> str:
    """How much the code used of how much, what became of the kernel, what to do. `profile` must be loaded."""
    used = gettext("The code used all the memory that it may have (%(memory)s) and was stopped.")
    again = gettext("The kernel was started again: its variables are gone, your files are kept.")
    kept = str(LAST_SAVED) if _only_saved(runtime.message) else gettext("Your files are kept.")
    advice = gettext("Use less data, or delete what is no longer needed (del), and run the cells again from the top.")
    # Its profile may have changed since it started.
    memory = int((runtime.reserved or reserved(runtime.profile))["memory_bytes"])
    return " ".join([used % {"memory": size(memory)}, again if restarted else kept, advice])


def _only_saved(message: str) -> bool:
    return message == source_text(LAST_SAVED)


def recovered(kernel: Kernel) -> str:
    """What to know about a kernel that ended by itself and runs again. `runtime__profile` must be loaded."""
    if kernel.died_of == Reason.OUT_OF_MEMORY:
        return out_of_memory(kernel.runtime, restarted=True)
    return gettext("The kernel ended by itself and was started again: its variables are gone, your files are kept.")


def moved(before: Runtime, now: Runtime) -> str:
    """That work went on elsewhere after its machine was taken away; "" where it ended otherwise."""
    if before.reason not in MOVED_SENTENCES:
        return ""
    why = str(MOVED_SENTENCES[Reason(before.reason)])
    return f"{why} {_there(arrived=now.state == Runtime.State.READY, whole=bool(before.message))}"


def _there(*, arrived: bool, whole: bool) -> str:
    """whole: its files were fetched when its machine was taken away."""
    if arrived and whole:
        return gettext("Your work is on a new machine, with all its files: run the cells again.")
    if arrived:
        return gettext("Your work is on a new machine, with its files as last saved: run the cells again.")
    if whole:
        return gettext("Your work moves to a new machine, with all its files.")
    return gettext("Your work moves to a new machine, with its files as last saved.")


def because(reason: str, message: str) -> str:
    """The sentence of a reason, or of an error the row's own message where it has one; with what the message says of
    the files, and an operator's words before that."""
    if message and reason in ("", Reason.ERROR):
        return gettext(message)
    if message and reason in MOVED_SENTENCES:
        return f"{MOVED_SENTENCES[Reason(reason)]} {gettext(message)}"
    # Other messages of these are a kernel's, for operators.
    if _only_saved(message) and reason in ENDED_SENTENCES:
        return f"{ENDED_SENTENCES[Reason(reason)]} {LAST_SAVED}"
    if message and reason == Reason.OPERATOR:
        return _by_operator(message)
    try:
        return str(REASON_SENTENCES[Reason(reason)])
    except (KeyError, ValueError):
        return gettext(message) if message else ""


def _by_operator(message: str) -> str:
    words, _line, last = message.rpartition("\n")
    words, kept = (words, str(LAST_SAVED)) if _only_saved(last) else (message, gettext("Your files are kept."))
    told = gettext("An administrator stopped the machine: %(why)s")
    why = told % {"why": words if words.endswith((".", "!", "?")) else f"{words}."}
    return f"{why} {kept}"


def not_kept(left_out: Mapping[str, str]) -> list[str]:
    """A sentence for each reason in `left_out` (path → why, as in the source), with the first few names."""
    by_reason: dict[str, list[str]] = {}
    for path, why in sorted(left_out.items()):
        by_reason.setdefault(why, []).append(path)
    return [
        gettext("Not kept: %(names)s. %(why)s") % {"names": _names(paths), "why": gettext(why)}
        for why, paths in by_reason.items()
    ]


def not_brought(titles: Mapping[str, str]) -> list[str]:
    """What to install again (`Runtime.not_brought`), as at most one sentence."""
    if not titles:
        return []
    told = gettext("Install again, where you need it: %(names)s. It could not be kept whole.")
    return [told % {"names": _names(sorted(titles.values()))}]


def _names(paths: list[str]) -> str:
    names = ", ".join(paths[:NAMES_TOLD])
    more = len(paths) - NAMES_TOLD
    if more <= 0:
        return names
    return ngettext("%(names)s and %(more)d more", "%(names)s and %(more)d more", more) % {"names": names, "more": more}


def size(count: int) -> str:
    """Bytes as people say them, in powers of 1024: 512 B, 3.4 MB."""
    amount = Decimal(count)
    units = [gettext("B"), gettext("KB"), gettext("MB"), gettext("GB")]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    places = 1 if amount < 100 and count >= 1024 else 0
    return f"{number_format(round(amount, places), decimal_pos=places)} {units[0]}"


def _waits(row: Runtime, position: int | None) -> str:
    """The place, where it has one, then what a seat depends on."""
    told = because(row.reason, "") or gettext("It starts by itself when a place is free.")
    if not queue.has_place(row):
        return told
    position = position or queue.queue_position(row)
    place = (
        gettext("Next in the queue.")
        if position <= 1
        else gettext("Number %(position)d in the queue.") % {"position": position}
    )
    return f"{place} {told}"
