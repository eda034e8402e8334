"""Single-use links that let someone who was added by others choose a password."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from classroom.errors import ClassroomError
from classroom.models import Course, Enrollment
from classroom.outbox import NothingToDo, handles, post
from classroom.people.models import Invitation, User

_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_TYPED = 16


class InvitationGone(ClassroomError):
    """The link was used, is too old, or never was."""

    user_message = gettext_lazy(
        "This link has been used or is too old. If you have chosen a password already, sign in; "
        "otherwise ask your teacher for a new link."
    )


def awaits(user: User) -> bool:
    """Whether a link may still let this person in: nobody has signed in with the account, and no password is set.

    A link for anyone else would let whoever makes it take the account over.
    """
    return user.is_active and user.last_login is None and not user.has_usable_password() and not user.is_staff


def issue(user: User, by: User | None, *, on_paper: bool = False) -> str:
    """The address of a new link for `user`; `on_paper` makes one that can be typed. Raises InvitationGone where no link
    may let them in any more.

    Only the SHA-256 of its secret is kept, so the address is made where it is sent or printed and nowhere else.
    """
    if not awaits(user):
        raise InvitationGone(f"user {user.pk} is in")
    secret = _typable() if on_paper else secrets.token_urlsafe(32)
    Invitation.objects.create(
        user=user,
        secret_sha256=_sha256(secret),
        created_by=by,
        expires_at=timezone.now() + settings.INVITATION_LIFETIME,
    )
    return settings.SITE_ORIGIN + reverse("join", args=[secret])


def find(secret: str) -> Invitation:
    """The open invitation of `secret`. Raises InvitationGone."""
    found = (
        Invitation.objects.select_related("user")
        .filter(secret_sha256=_sha256(_as_issued(secret)), used_at=None, expires_at__gt=timezone.now())
        .first()
    )
    if found is None or not awaits(found.user):
        raise InvitationGone
    return found


def accept(invitation: Invitation, password: str) -> User:
    """Sets the password and spends every open link of the person. Raises InvitationGone for whoever comes second."""
    with transaction.atomic():
        mine = Invitation.objects.filter(pk=invitation.pk, used_at=None)
        if not mine.update(used_at=timezone.now()):
            raise InvitationGone
        user = User.objects.get(pk=invitation.user_id)
        user.set_password(password)
        user.save(update_fields=["password"])
        Invitation.objects.filter(user=user, used_at=None).update(used_at=timezone.now())
    return user


def post_mail(user: User, course: Course, by: User) -> None:
    """Puts a mail with a link into the outbox, in the caller's transaction. It goes once a minute at most."""
    minute = timezone.now().strftime("%Y%m%d%H%M")
    post(
        "invitation", f"invitation:{course.pk}:{user.pk}:{minute}", {"user": user.pk, "course": course.pk, "by": by.pk}
    )


@handles("invitation")
def send(payload: Mapping[str, Any]) -> None:
    """Makes the link and mails it, in the person's language. Raises NothingToDo where they are in or dropped."""
    enrollment = (
        Enrollment.objects.select_related("user", "course")
        .filter(user=payload["user"], course=payload["course"])
        .exclude(state=Enrollment.State.DROPPED)
        .first()
    )
    if enrollment is None or not awaits(enrollment.user):
        raise NothingToDo("no longer invited")
    user, course = enrollment.user, enrollment.course
    by = User.objects.filter(pk=payload["by"]).first()
    with translation.override(user.language or settings.LANGUAGE_CODE):
        context = {"user": user, "course": course, "by": by, "address": issue(user, by), "days": _days()}
        subject = _("Your place in %(course)s") % {"course": course.title}
        send_mail(" ".join(subject.split()), render_to_string("teach/invitation.txt", context), None, [user.email])


def _typable() -> str:
    """Like 7KQ2-M9TX-4RWD-HJ3P: 78 bits, and nothing in it that is read for something else."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_TYPED))
    return "-".join(letters[start : start + 4] for start in range(0, _TYPED, 4))


def _as_issued(secret: str) -> str:
    """What was typed, as it was printed, whatever its case and hyphens; a mailed secret is left as it is."""
    letters = secret.replace("-", "").replace(" ", "").upper()
    if len(letters) == _TYPED and set(letters) <= set(_LETTERS):
        return "-".join(letters[start : start + 4] for start in range(0, _TYPED, 4))
    return secret


def _days() -> int:
    return int(settings.INVITATION_LIFETIME.days)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
