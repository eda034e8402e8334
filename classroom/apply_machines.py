"""Machines as a file says them, made or changed in the site: all or none, and again and again with the same outcome.

Machines that the file does not name stay as they are. One that it once named and names no more stays, too: runtimes and
assignments refer to it, and the site's administrator decides what becomes of it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from classroom.errors import ClassroomError
from classroom.forms_values import MachineValuesForm
from classroom.machine_values import Entry, mistakes, words_of
from runtimes import trials
from runtimes.image_trial import Untried
from runtimes.models import Profile


class NotApplied(ClassroomError):
    """Nothing was changed. `sentences` say why, each with the machine and the key."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("; ".join(sentences), user_message="\n".join(sentences))
        self.sentences = sentences


@dataclass(frozen=True, slots=True)
class Applied:
    """changes: key → (before, after); all keys of one that is new. asked: whether the provider was to say if it runs
    it, tried: that it said so; note: what it could not say of its image."""

    slug: str
    is_new: bool
    changes: Mapping[str, tuple[Any, Any]]
    asked: bool = False
    tried: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """left: machines that `keeper` kept until now, and that the file names no more."""

    machines: Sequence[Applied]
    left: Sequence[str] = field(default=())


def apply(
    entries: Sequence[Any], *, keeper: str, only_look: bool = False, patience: timedelta = timedelta(0)
) -> Report:
    """Makes each machine as its entry says, and notes who keeps it so. Raises NotApplied.

    What would change, or was never tried, is tried first by the provider, as long as the `runtimes` process answers;
    unanswered, it is made untried. So are machines of the site's own image that are not named: it may be another one
    since. patience: for how long the process, and images that are being fetched, are waited for in all. The questions
    are rows that another process reads: they are asked between two transactions."""
    _refuse_mistakes(entries)
    until = time.monotonic() + patience.total_seconds()
    with transaction.atomic():
        looked, profiles = _write(entries, keeper, {})
        transaction.set_rollback(True)
    others = _of_the_sites_image(profiles)
    changed = {one.slug for one in looked.machines if one.changes}
    named = [one for slug, one in profiles.items() if slug in changed or _waits(one)]
    answers = _ask_all([*named, *others], changed, until)
    # A node that is away keeps no machine from being changed that has nothing to do with it.
    _refuse_what_cannot_run(answers, spared={one.slug for one in [*named, *others]} - changed)
    if not only_look:
        try:
            with transaction.atomic():
                looked, _profiles = _write(entries, keeper, answers)
                _note(others, answers)
        except IntegrityError as error:
            raise NotApplied([_("Somebody made one of these machines meanwhile: apply them again.")]) from error
    machines = [*looked.machines, *(Applied(one.slug, False, {}) for one in others)]
    return replace(looked, machines=[_told(one, answers.get(one.slug)) for one in machines])


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


def _write(
    entries: Iterable[Entry], keeper: str, answers: Mapping[str, trials.Answer]
) -> tuple[Report, dict[str, Profile]]:
    """Inside a transaction of the caller's. Machines that others fall back to come before those. answers: by slug,
    what the provider said of those that it was asked about."""
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
        if (answer := answers.get(slug)) and not answer.refusal:
            trials.note(profile, answer)
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


def _waits(profile: Profile) -> bool:
    """Nobody chooses what is retired any more."""
    return profile.retired_at is None and trials.is_untried(profile)


def _of_the_sites_image(named: Collection[str]) -> list[Profile]:
    """Others that wait to be tried."""
    return [one for one in Profile.objects.filter(image="").exclude(slug__in=named).order_by("slug") if _waits(one)]


def _ask_all(profiles: Iterable[Profile], changed: Collection[str], until: float) -> dict[str, trials.Answer]:
    """What the provider says, by slug. One question without an answer is the last: each takes its time. Where only the
    site's image is another one, what is said of it holds for all whose nodes are of one kind."""
    answers: dict[str, trials.Answer] = {}
    known: dict[str, trials.Answer] = {}
    silent = False
    for profile in profiles:
        kind, in_full = trials.fetched(profile), profile.slug in changed or profile.image_untried
        if silent:
            answer = trials.Answer(answered=False)
        elif kind not in known or (in_full and not _is_out_of_patience(known[kind], until)):
            answer = _ask(profile, until)
        elif in_full:
            answer = _ask_but_of_its_image(profile, known[kind])
        else:
            answer = known[kind]
        silent = not answer.answered
        if answer.of_image or not answer.refusal:
            known[kind] = answer
        answers[profile.slug] = answer
    return answers


def _is_out_of_patience(known: trials.Answer, until: float) -> bool:
    """Whether another question of the same image would only wait for as long again."""
    return known.untried is Untried.SLOW and time.monotonic() >= until


def _ask_but_of_its_image(profile: Profile, known: trials.Answer) -> trials.Answer:
    answer = trials.ask(profile, tries_image=False)
    return known if answer.answered and not answer.refusal else answer


def _ask(profile: Profile, until: float) -> trials.Answer:
    """Again while the process does not answer or its image is being fetched: `trials.ask` takes its time each time."""
    while True:
        answer = trials.ask(profile)
        settled = answer.answered and answer.untried is not Untried.SLOW
        if settled or time.monotonic() >= until:
            return answer


def _refuse_what_cannot_run(answers: Mapping[str, trials.Answer], *, spared: Collection[str]) -> None:
    """Raises NotApplied. spared: the slugs of machines that stay as they are, of which only the image is judged."""
    told = _("%(slug)s: It cannot be run here. What the provider says: %(why)s")
    refused = {
        slug: answer.refusal
        for slug, answer in answers.items()
        if answer.refusal and (answer.of_image or slug not in spared)
    }
    if refused:
        raise NotApplied([told % {"slug": slug, "why": why} for slug, why in refused.items()])


def _note(others: Iterable[Profile], answers: Mapping[str, trials.Answer]) -> None:
    for profile in others:
        answer = answers[profile.slug]
        if answer.answered and not answer.refusal:
            trials.note(profile, answer)
            noted = {"image_untried": profile.image_untried, "tried_site_image": profile.tried_site_image}
            # Its page may have given it an image of its own meanwhile.
            Profile.objects.filter(pk=profile.pk, image="").update(**noted)


def _told(one: Applied, answer: trials.Answer | None) -> Applied:
    if answer is None:
        return one
    return replace(one, asked=True, tried=answer.answered, note=answer.note)
