"""Machines of a course that cannot be started, or are waited for in vain: on the course's page, and once a day by mail
to those who teach it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import F, Q
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from classroom.models import Course, Enrollment
from classroom.outbox import NothingToDo, handles, post
from classroom.workspaces import ACCOUNTS, account_of
from runtimes.describe import sentence
from runtimes.models import Runtime
from runtimes.status import Reason

LOOKS_BACK = timedelta(days=1)
#: How long somebody waits for a machine that is not there before others hear of it: a node may be starting again.
IN_VAIN_AFTER = timedelta(minutes=5)
_WAITS = (Runtime.State.QUEUED, Runtime.State.STARTING)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One machine of one course: how often it did not start since it last did, or how many wait for it in vain, and why
    the last time."""

    course: int
    runtime: Runtime
    times: int

    @property
    def why(self) -> str:
        """For people, in their language."""
        return sentence(self.runtime)

    @property
    def at(self) -> datetime:
        """The last time; now where somebody waits."""
        return self.runtime.stopped_at or timezone.now()


def in_vain(runtime: Runtime) -> bool:
    """Whether it has waited for long, for a machine that is not there."""
    waits, since = runtime.state in _WAITS and runtime.reason == Reason.NO_MACHINE, runtime.in_vain_since
    return waits and since is not None and since < timezone.now() - IN_VAIN_AFTER


def troubles(*courses: int) -> list[Trouble]:
    """Those of now and of the last day, newest first; of all courses where none is named. Two queries."""
    now = timezone.now()
    waits = Q(state__in=_WAITS, reason=Reason.NO_MACHINE, in_vain_since__lt=now - IN_VAIN_AFTER)
    ended = Q(state=Runtime.State.FAILED, stopped_at__gt=now - LOOKS_BACK)
    failed = Runtime.objects.filter(waits | ended).select_related("profile")
    accounts = {"account__in": [account_of(course) for course in courses]} if courses else {}
    rows = list(
        failed.filter(account__startswith=ACCOUNTS, **accounts).order_by(F("stopped_at").desc(nulls_first=True))[:1000]
    )
    return _grouped(rows, _worked_at(rows)) if rows else []


def _worked_at(rows: Iterable[Runtime]) -> dict[tuple[str, int], datetime]:
    """When each account's machine last did start."""
    keys = {(row.account, row.profile_id) for row in rows}
    ready = Runtime.objects.filter(
        account__in={account for account, _profile in keys}, profile__in={profile for _account, profile in keys}
    )
    seen = ready.filter(ready_at__gt=timezone.now() - LOOKS_BACK).order_by("ready_at")
    return {(account, profile): at for account, profile, at in seen.values_list("account", "profile", "ready_at") if at}


def _grouped(rows: Iterable[Runtime], worked: Mapping[tuple[str, int], datetime]) -> list[Trouble]:
    together: dict[tuple[str, int], list[Runtime]] = {}
    for row in rows:
        key = (row.account, row.profile_id)
        if row.stopped_at is None or key not in worked or row.stopped_at > worked[key]:
            together.setdefault(key, []).append(row)
    return [Trouble(int(key[0].removeprefix(ACCOUNTS)), found[0], len(found)) for key, found in together.items()]


def tell() -> None:
    """Posts a mail to the teachers of every course with a machine that cannot be started, once a day and machine. The
    caller drains the outbox."""
    for trouble in troubles():
        day = timezone.localdate().isoformat()
        # Waiting in vain does not use up the mail about one that failed.
        waits = "" if trouble.runtime.stopped_at else ":waits"
        key = f"machine:{trouble.course}:{trouble.runtime.profile_id}:{day}{waits}"
        post("machine_mail", key, {"course": trouble.course, "runtime": trouble.runtime.pk}, wakes=False)


@handles("machine_mail")
def deliver(payload: Mapping[str, Any]) -> None:
    """Writes to every teacher who is in the course. Raises NothingToDo where it is archived, or the machine came."""
    course = Course.objects.get(pk=payload["course"])
    if course.archived_at is not None:
        raise NothingToDo("the course is archived")
    profile = Runtime.objects.values_list("profile", flat=True).get(pk=payload["runtime"])
    # Of another's machine of this kind, where this one came or is wanted no more.
    found = [one.runtime for one in troubles(course.pk) if one.runtime.profile_id == profile]
    if not found:
        raise NothingToDo("the machine came")
    [runtime] = found
    teachers = Enrollment.objects.select_related("user").filter(
        course=course, role=Enrollment.Role.TEACHER, state=Enrollment.State.ACTIVE, user__is_active=True
    )
    for teacher in teachers:
        user = teacher.user
        with translation.override(user.language or settings.LANGUAGE_CODE):
            context = {
                "name": user.get_full_name(), "course": course.title, "machine": runtime.profile.name,
                "why": sentence(runtime), "address": settings.SITE_ORIGIN + reverse("teach_course", args=[course.slug]),
            }  # fmt: skip
            subject = _("%(course)s: a machine cannot be started") % {"course": course.title}
            send_mail(subject, render_to_string("mail/machine.txt", context), None, [user.email])
