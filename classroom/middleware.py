"""Every page in the signed-in person's language, time zone and theme."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils import timezone, translation

from classroom.people.models import User

type GetResponse = Callable[[HttpRequest], HttpResponse]

THEME_COOKIE = "theme"


def set_time_zone(name: str) -> None:
    """Says times in `name` for the rest of this request; an unknown name leaves them as they are."""
    try:
        timezone.activate(zoneinfo.ZoneInfo(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        # A zone that the time zone database has dropped must not close the site to its person.
        return


def theme_of(request: HttpRequest) -> str:
    """auto, light or dark: the person's own, else the browser's cookie."""
    user = request.user
    chosen = user.theme if isinstance(user, User) else request.COOKIES.get(THEME_COOKIE, "")
    return chosen if chosen in User.Theme.values else User.Theme.AUTO.value


def display(request: HttpRequest) -> dict[str, Any]:
    """The theme, and whether the sign-in page may offer an account (a context processor)."""
    theme = theme_of(request) if hasattr(request, "user") else User.Theme.AUTO.value
    found: dict[str, Any] = {"theme": theme, "sign_up_open": settings.SIGN_UP_OPEN}
    return found | {f"theme_{name}": name == theme for name in User.Theme.values}


class SignedOutMiddleware:
    """Answers 401 to a script that asks for a piece of a page while nobody is signed in.

    A script follows the way to the sign-in page unseen: it would put that page in the place of the piece, and take what
    it sent for saved (`static/js/site.js` says what happened). Runs after HtmxMiddleware.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """401 without a body in place of a redirect to the sign-in page."""
        response = self.get_response(request)
        sign_in = resolve_url(settings.LOGIN_URL)
        if request.htmx and isinstance(response, HttpResponseRedirect) and response.url.split("?")[0] == sign_in:  # type: ignore[attr-defined]
            return HttpResponse(status=401)
        return response


class PersonMiddleware:
    """Runs after LocaleMiddleware and AuthenticationMiddleware: what the person chose beats what the browser asked."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Activates language and time zone; a course's pages may set another zone (`enter.course_page`)."""
        user = request.user
        if isinstance(user, User):
            if user.language in dict(settings.LANGUAGES):
                translation.activate(user.language)
                request.LANGUAGE_CODE = translation.get_language() or settings.LANGUAGE_CODE
            if user.time_zone:
                set_time_zone(user.time_zone)
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()
