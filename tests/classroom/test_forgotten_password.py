"""A forgotten password: the mail goes through the outbox, and whoever asks learns nothing from the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from classroom import outbox
from classroom.models import Course, Outbox
from classroom.people.models import User

ASK = "/accounts/password/reset/"


@pytest.fixture(autouse=True)
def nobody_has_asked_yet() -> None:
    """Asking is limited by the minute, in the cache."""
    cache.clear()


def asks(client: Client, email: str) -> str:
    return client.post(ASK, {"email": email}, follow=True).content.decode()


def link() -> str:
    """The address in the one mail that was sent."""
    (message,) = mail.outbox
    return re.search(r"http\S+", message.body)[0]


def test_a_forgotten_password_is_chosen_anew_by_mail(course: Course, ada: User, client: Client):
    asks(client, "ada@example.org")
    outbox.drain()
    (message,) = mail.outbox
    assert (message.subject, message.to) == ("A new password", ["ada@example.org"])
    assert "ada@example.org" in message.body
    page = client.get(link(), follow=True)
    assert "Choose a new password" in page.content.decode()
    client.post(page.redirect_chain[-1][0], {"password1": "a long new phrase", "password2": "a long new phrase"})
    assert client.login(username="ada", password="a long new phrase")
    assert "This link no longer works" in client.get(link(), follow=True).content.decode()


def test_an_address_that_nobody_has_is_told_so_only_by_mail(course: Course, client: Client):
    assert "Look into your mail" in asks(client, "nobody@example.org")
    outbox.drain()
    (message,) = mail.outbox
    assert message.to == ["nobody@example.org"]
    assert "No account has this address" in message.body
    assert "sign up" not in message.body


def test_the_page_sends_nothing_and_keeps_no_link(ada: User, client: Client):
    asks(client, "ada@example.org")
    assert mail.outbox == []
    row = Outbox.objects.get()
    assert row.payload == {"email": "ada@example.org", "language": "en"}
    outbox.drain()
    key = link().rstrip("/").rsplit("/", 1)[1].partition("-")[2]
    assert key
    assert key not in str(list(Outbox.objects.values()))


def test_asking_is_the_same_work_whether_the_site_knows_the_address(ada: User, client: Client):
    """No time tells who has an account: the database is asked the same, and no mail server anything."""
    asked = []
    for email in ("first@example.org", "ada@example.org", "nobody@example.org"):
        with CaptureQueriesContext(connection) as context:
            client.post(ASK, {"email": email})
        asked.append([re.sub(r"'[^']*'", "?", query["sql"]) for query in context])
    assert asked[1] == asked[2]
    assert not [query for query in asked[1] if "people_user" in query]


def test_a_mail_server_that_is_down_is_tried_again_with_a_fresh_link(ada: User, client: Client, monkeypatch):
    def refuse(*_given: Any, **_more: Any) -> None:
        raise ConnectionRefusedError

    with monkeypatch.context() as down:
        down.setattr("classroom.password_mail.send_mail", refuse)
        assert "Look into your mail" in asks(client, "ada@example.org")
        outbox.drain()
    assert Outbox.objects.get().state == Outbox.State.WAITING
    Outbox.objects.update(not_before="2020-01-01T00:00Z")
    outbox.drain()
    assert "Choose a new password" in client.get(link(), follow=True).content.decode()


def test_an_impatient_click_sends_one_mail(ada: User, client: Client, monkeypatch):
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    for email in ("ada@example.org", "ADA@example.org"):
        asks(client, email)
    outbox.drain()
    (message,) = mail.outbox
    assert message.to == ["ada@example.org"]


def test_a_closed_account_gets_no_link(ada: User, client: Client):
    User.objects.filter(pk=ada.pk).update(is_active=False)
    asks(client, "ada@example.org")
    outbox.drain()
    assert "No account has this address" in mail.outbox[0].body


def test_it_comes_in_the_persons_language_else_in_that_of_the_page(ada: User, client: Client):
    User.objects.filter(pk=ada.pk).update(language="fr")
    asks(client, "ada@example.org")
    client.cookies["django_language"] = "fr"
    asks(client, "nobody@example.org")
    outbox.drain()
    assert {message.subject for message in mail.outbox} == {"Un nouveau mot de passe", "Aucun compte à cette adresse"}


@pytest.fixture
def letters(tmp_path: Path, settings: Any) -> Path:
    """The folder that mail goes to where no mail server is set."""
    folder = tmp_path / "mail"
    backend = {"BACKEND": "django.core.mail.backends.filebased.EmailBackend", "OPTIONS": {"file_path": str(folder)}}
    settings.MAILERS = {"default": backend}
    return folder


def test_without_a_mail_server_the_letter_is_a_file(ada: User, client: Client, letters: Path):
    asks(client, "ada@example.org")
    assert not letters.exists()
    outbox.drain()
    (letter,) = letters.iterdir()
    assert "/accounts/password/reset/key/" in letter.read_text()
