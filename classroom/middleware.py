"""Every page in the signed-in person's language, time zone and theme."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.utils import timezone, translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

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
    """What was sent while nobody is signed in was not done, and says so.

    A script gets 401: it would follow the way to the sign-in page unseen, put that page in the place of a piece, and
    take what it sent for saved (`static/js/site.js` says what happened). A form is told on the sign-in page, and leads
    back to the page that it stood on: its own address may answer to no other method. Runs after HtmxMiddleware.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The view's response, unless it is the way to the sign-in page."""
        response = self.get_response(request)
        sign_in = resolve_url(settings.LOGIN_URL)
        # With the way back in it, as `login_required` has it; not the way of somebody who has just signed out.
        if not isinstance(response, HttpResponseRedirect) or not response.url.startswith(f"{sign_in}?next="):
            return response
        if request.htmx:  # type: ignore[attr-defined]
            return HttpResponse(status=401)
        if request.method == "POST":
            messages.warning(
                request, _("You were signed out, so that was not done. Sign in, then send it again from its page.")
            )
            return redirect_to_login(_page_of(request), sign_in)
        return response


def _page_of(request: HttpRequest) -> str:
    """The address of the page on which a form stood, as far as the browser says; else the start page."""
    referer = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(referer, {request.get_host()}):
        return resolve_url("home")
    return urlsplit(referer)._replace(scheme="", netloc="", fragment="").geturl()


class FormsAddressMiddleware:
    """Who comes to read at an address that only takes forms (again, or by a bookmark) is told so: Django's answer is an
    empty page. Runs after PersonMiddleware."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The view's response, with a page in it where it is 405 and empty."""
        response = self.get_response(request)
        if request.method == "GET" and response.status_code == 405 and not response.content:
            page = render(request, "405.html", status=405)
            page["Allow"] = response["Allow"]
            return page
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
