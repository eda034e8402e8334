"""One-time tickets (from the site, by form) and the credential that a used ticket is swapped for (a cookie)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Any, cast

from django.core import signing
from django.utils import timezone

from runtimes.jupyter.entry import header
from runtimes.jupyter.errors import TicketRefused
from runtimes.jupyter.hooks import Mode
from runtimes.models import Ticket, Workspace

TICKET_LIFETIME = timedelta(seconds=30)
CREDENTIAL_LIFETIME = timedelta(hours=12)
# __Host- makes the browser refuse a Domain, a Path other than / and plain http (RFC 6265bis, cookie name prefixes).
COOKIE = "__Host-nb"
_SALT = "runtimes.jupyter.credential"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a cookie proves: that this person came into this workspace by a ticket of this mode."""

    slug: str
    subject: str
    mode: Mode


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def issue(*, workspace: Workspace, subject: str, display_name: str, mode: Mode) -> str:
    """A new ticket's secret, good once within 30 s. Only its SHA-256 is stored. Old tickets are swept on the way."""
    now = timezone.now()
    Ticket.objects.filter(expires_at__lt=now - timedelta(hours=1)).delete()
    secret = secrets.token_urlsafe(32)
    Ticket.objects.create(
        secret_sha256=_digest(secret),
        workspace=workspace,
        subject=subject,
        display_name=display_name,
        mode=mode,
        expires_at=now + TICKET_LIFETIME,
    )
    return secret


def redeem(secret: str, slug: str) -> Credential:
    """Uses up a ticket. Raises TicketRefused if it is unknown, used, expired or another workspace's.

    A ticket shown at a wrong host is not used up: only its own workspace can do that.
    """
    now = timezone.now()
    mine = Ticket.objects.filter(secret_sha256=_digest(secret), workspace__slug=slug)
    # The guarded update decides between two that come at once: one of them moves a row.
    if not mine.filter(used_at=None, expires_at__gt=now).update(used_at=now):
        raise TicketRefused(f"ticket refused at {slug}")
    ticket = mine.get()
    return Credential(slug=slug, subject=ticket.subject, mode=cast("Mode", ticket.mode))


def cookie(credential: Credential) -> str:
    """The Set-Cookie value for a credential."""
    value = signing.dumps([credential.slug, credential.subject, credential.mode], salt=_SALT)
    age = int(CREDENTIAL_LIFETIME.total_seconds())
    return f"{COOKIE}={value}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite=None; Partitioned"


def credential_of(scope: Mapping[str, Any], slug: str) -> Credential | None:
    """The valid credential for this workspace in the scope's cookies, or None."""
    jar = SimpleCookie()
    try:
        jar.load(header(scope, b"cookie") or "")
    except CookieError:
        return None
    if (morsel := jar.get(COOKIE)) is None:
        return None
    try:
        mine, subject, mode = signing.loads(morsel.value, salt=_SALT, max_age=CREDENTIAL_LIFETIME)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return Credential(slug, subject, mode) if mine == slug else None
