"""The button is there where Google is configured; it lets in whom the roster knows, and nobody else."""

from __future__ import annotations

import html
import importlib
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import complete_social_login
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import clear_url_caches

from classroom import urls
from classroom.models import Course
from classroom.people.models import User

CONFIGURED = {"google": {"APPS": [{"client_id": "id", "secret": "secret"}], "EMAIL_AUTHENTICATION": True}}


@pytest.fixture
def addresses(settings) -> Iterator[Callable[[str], None]]:
    """`addresses("id")` makes the site's addresses as a process with that GOOGLE_CLIENT_ID would."""

    def make(client_id: str) -> None:
        settings.GOOGLE_CLIENT_ID = client_id
        settings.SOCIALACCOUNT_PROVIDERS = CONFIGURED if client_id else {}
        importlib.reload(urls)
        clear_url_caches()

    yield make
    make("")


def test_without_google_there_is_no_button_and_no_address(addresses, client: Client, db: None):
    addresses("")
    assert "Google" not in client.get("/accounts/login/").content.decode()
    assert client.post("/accounts/google/login/").status_code == 404


def test_with_google_the_button_leads_there_and_back(addresses, client: Client, db: None):
    addresses("id")
    page = client.get("/accounts/login/?next=/c/data/").content.decode()
    [action] = re.findall(r'action="(/accounts/google/login/[^"]*)"', page)
    answer = client.post(html.unescape(action))
    assert answer.url.startswith("https://accounts.google.com/")
    assert quote("/accounts/google/login/callback/", safe="") in answer.url


def arrive(email: str, *, verified: bool = True) -> tuple[HttpRequest, HttpResponse]:
    """Someone comes back from Google, which says who they are."""
    request = RequestFactory().get("/accounts/google/login/callback/")
    SessionMiddleware(lambda _request: HttpResponse()).process_request(request)
    MessageMiddleware(lambda _request: HttpResponse()).process_request(request)
    request.user = AnonymousUser()
    data = {"sub": "1", "email": email, "email_verified": verified, "name": "Somebody"}
    login = get_adapter(request).get_provider(request, "google").sociallogin_from_response(request, data)
    with context.request_context(request):
        try:
            return request, complete_social_login(request, login)
        except ImmediateHttpResponse as answer:
            return request, answer.response


@pytest.fixture(autouse=True)
def google(settings) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = CONFIGURED


def test_whom_the_roster_knows_comes_in(course: Course, ada: User):
    request, _answer = arrive("Ada@example.org")
    assert request.user == ada
    assert SocialAccount.objects.get().user == ada


def test_an_address_that_google_has_not_verified_opens_nothing(course: Course, ada: User):
    request, _answer = arrive("ada@example.org", verified=False)
    assert not request.user.is_authenticated


def test_a_stranger_makes_no_account(course: Course):
    before = User.objects.count()
    request, _answer = arrive("stranger@example.org")
    assert not request.user.is_authenticated
    assert User.objects.count() == before


def test_someone_who_is_signed_in_finds_their_email_on_the_profile_only(course: Course, ada: User):
    client = Client()
    client.force_login(ada)
    assert client.get("/accounts/email/").url == "/profile/"
    client.post("/accounts/email/", {"action_add": "", "email": "grace@example.org"})
    assert not EmailAddress.objects.filter(email="grace@example.org").exists()
