"""The mail that lets someone choose a new password. Asking for one takes as long whether the site knows the address."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from allauth.account import app_settings as account
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation

from classroom.outbox import handles, post
from classroom.people.models import User


def ask(email: str) -> None:
    """Puts the wish into the outbox, and looks nothing up: who asked learns nothing from it. Once a minute at most."""
    said = hashlib.sha256(email.lower().encode()).hexdigest()[:16]
    minute = timezone.now().strftime("%Y%m%d%H%M")
    post(
        "password_mail",
        f"password:{said}:{minute}",
        {"email": email.lower(), "language": translation.get_language() or settings.LANGUAGE_CODE},
    )


@handles("password_mail")
def send(payload: Mapping[str, Any]) -> None:
    """Makes the link and mails it to the address that the account has; an address of nobody is told so.

    The link is made here, so that it lies in no row. It holds until the password or the last sign-in changes, and for
    PASSWORD_RESET_TIMEOUT.
    """
    email = str(payload["email"])
    user = User.objects.filter(email__iexact=email, is_active=True).first()
    with translation.override((user.language if user else "") or str(payload["language"])):
        if user is None:
            _write("unknown_account", email, {"email": email})
        else:
            _write("password_reset_key", user.email, _about(user))


def _about(user: User) -> dict[str, str]:
    key = account.PASSWORD_RESET_TOKEN_GENERATOR().make_token(user)
    path = reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), key])
    return {"email": user.email, "username": user.username, "password_reset_url": settings.SITE_ORIGIN + path}


def _write(template: str, email: str, context: Mapping[str, str]) -> None:
    subject = render_to_string(f"account/email/{template}_subject.txt")
    body = render_to_string(f"account/email/{template}_message.txt", dict(context))
    send_mail(" ".join(subject.split()), body.strip(), None, [email])
