"""Machines as a file says them, made or changed in the site: all or none, and again and again with the same outcome.

Machines that the file does not name stay as they are. One that it once named and names no more stays, too: runtimes and
assignments refer to it, and the site's administrator decides what becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from classroom.errors import ClassroomError
from classroom.forms_values import MachineValuesForm
from classroom.machine_values import Entry, mistakes, words_of
from runtimes import trials
from runtimes.models import Profile


class NotApplied(ClassroomError):
    """Nothing was changed. `sentences` say why, each with the machine and the key."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("; ".join(sentences), user_message="\n".join(sentences))
        self.sentences = sentences


@dataclass(frozen=True, slots=True)
class Applied:
    """changes: key → (before, after); all keys of one that is new. tried: whether the provider said that it runs it;
    note: what it could not say of its image."""

    slug: str
    is_new: bool
    changes: Mapping[str, tuple[Any, Any]]
    tried: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """left: machines that `keeper` kept until now, and that the file names no more."""

    machines: Sequence[Applied]
    left: Sequence[str] = field(default=())


def apply(entries: Sequence[Any], *, keeper: str, only_look: bool = False) -> Report:
    """Makes each machine as its entry says, and notes who keeps it so. Raises NotApplied.

    What would change, or was never tried, is tried first by the provider, as long as the `runtimes` process answers;
    unanswered, it is made untried. The questions are rows that another process reads: they are asked between two
    transactions."""
    _refuse_mistakes(entries)
    with transaction.atomic():
        looked, profiles = _write(entries, keeper, {})
        transaction.set_rollback(True)
    waiting = {slug for slug, profile in profiles.items() if profile.image_untried and profile.retired_at is None}
    tried, untried = _try(profiles[one.slug] for one in looked.machines if one.changes or one.slug in waiting)
    if not only_look:
        try:
            with transaction.atomic():
                looked, _profiles = _write(entries, keeper, untried)
        except IntegrityError as error:
            raise NotApplied([_("Somebody made one of these machines meanwhile: apply them again.")]) from error
    told = [replace(one, tried=one.slug in tried, note=tried.get(one.slug, "")) for one in looked.machines]
    return replace(looked, machines=told)


def _refuse_mistakes(entries: Sequence[Any]) -> None:
    found: list[str] = []
    seen: set[Any] = set()
    for number, entry in enumerate(entries, start=1):
        slug = entry.get("slug") if isinstance(entry, Mapping) else None
        name = slug if isinstance(slug, str) and slug else _("machine %(number)d") % {"number": number}
        found += [f"{name}: {sentence}" for sentence in mistakes(entry)]
        if name in seen:
            found.append(_("%(name)s: There are two machines of this slug.") % {"name": name})
        seen.add(name)
    if found:
        raise NotApplied(found)


def _write(entries: Iterable[Entry], keeper: str, untried: Mapping[str, bool]) -> tuple[Report, dict[str, Profile]]:
    """Inside a transaction of the caller's. Machines that others fall back to come before those. untried: by slug,
    whether nobody knows of its image, as far as that was asked."""
    wrong: list[str] = []
    applied: list[Applied] = []
    profiles: dict[str, Profile] = {}
    for entry in sorted(entries, key=lambda entry: bool(entry.get("fallback"))):
        slug = entry["slug"]
        profile = Profile.objects.filter(slug=slug).first() or Profile()
        before = words_of(profile) if profile.pk else {}
        form = MachineValuesForm(entry, profile)
        if found := [*form.sentences(), *_retirement(entry)]:
            wrong += [f"{slug}: {sentence}" for sentence in found]
            continue
        profile.image_untried = untried.get(slug, profile.image_untried)
        profiles[slug] = _save(form, entry, keeper)
        after = words_of(profile)
        changes = {key: (before.get(key), word) for key, word in after.items() if before.get(key) != word}
        applied.append(Applied(slug, not before, changes))
    if wrong:
        raise NotApplied(wrong)
    return Report(applied, _let_go(keeper, set(profiles))), profiles


def _retirement(entry: Entry) -> list[str]:
    if entry.get("retired") and (entry.get("warm") or entry.get("timetable")):
        return [_("retired: Of a retired machine none is kept ready: take warm and timetable away.")]
    return []


def _save(form: MachineValuesForm, entry: Entry, keeper: str) -> Profile:
    profile = form.instance
    profile.retired_at = (profile.retired_at or timezone.now()) if entry.get("retired") else None
    profile.kept_by = keeper
    return form.save()


def _let_go(keeper: str, named: set[str]) -> list[str]:
    left = Profile.objects.filter(kept_by=keeper).exclude(slug__in=named)
    slugs = list(left.order_by("slug").values_list("slug", flat=True))
    left.update(kept_by="")
    return slugs


def _try(profiles: Iterable[Profile]) -> tuple[dict[str, str], dict[str, bool]]:
    """The slugs of those that the provider would run, each with what is to be said of its image; and of all, whether
    nobody knows of that. Raises NotApplied with its words for those that it would not. One question without an answer
    is the last: each takes its time."""
    tried: dict[str, str] = {}
    untried: dict[str, bool] = {}
    refused: list[str] = []
    answer = trials.Answer(answered=True)
    for profile in profiles:
        if answer.answered:
            answer = trials.ask(profile)
        untried[profile.slug] = trials.leaves_untried(profile, answer)
        if answer.answered:
            tried[profile.slug] = answer.note
        if answer.refusal:
            told = _("%(slug)s: It cannot be run here. What the provider says: %(why)s")
            refused.append(told % {"slug": profile.slug, "why": answer.refusal})
    if refused:
        raise NotApplied(refused)
    return tried, untried
