"""Bodies are read as far as their address may take them, and no further."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections
from django.test import Client

from classroom import body_limit
from classroom.asgi import application
from classroom.people.models import User

MIB = 1 << 20
HOST = b"127.0.0.1:8000"


class Sender:
    """A client that would send for ever, a mebibyte at a time; `read` counts what was taken."""

    def __init__(self) -> None:
        self.read = 0
        self.answer: list[Any] = []

    async def receive(self) -> dict[str, Any]:
        self.read += MIB
        return {"type": "http.request", "body": b"x" * MIB, "more_body": True}

    async def send(self, message: Any) -> None:
        self.answer.append(message)

    @property
    def status(self) -> int:
        return int(self.answer[0]["status"])

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.answer[1:]).decode()


def post(path: str, *, cookie: str = "", length: int | None = None) -> Sender:
    sender = Sender()
    headers = [(b"host", HOST), (b"content-type", b"multipart/form-data; boundary=x"), (b"cookie", cookie.encode())]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "server": None,
        "root_path": "", "asgi": {"version": "3.0"},
    }  # fmt: skip
    asyncio.run(application(scope, sender.receive, sender.send))
    return sender


@pytest.fixture
def cookie(ada: User) -> str:
    client = Client()
    client.force_login(ada)
    name = django_settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"


@pytest.fixture(autouse=True)
def _no_connection_outlives_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request has a thread of its own here, which nobody uses again: a database in use cannot be dropped."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


pytestmark = pytest.mark.django_db(transaction=True)


def test_an_endless_body_is_left_after_what_a_form_may_have() -> None:
    sender = post("/accounts/login/")
    assert (sender.status, sender.read) == (413, body_limit.FORM_BYTES + MIB)
    assert "This is too large" in sender.text
    assert "200" in sender.text


@pytest.mark.parametrize("path", ["/accounts/login/", "/nowhere/at/all/", "/w/some-slug/hand-in/"])
def test_what_is_announced_as_too_large_is_not_read_at_all(path: str) -> None:
    sender = post(path, length=body_limit.FORM_BYTES + 1)
    assert (sender.status, sender.read) == (413, 0)


def test_who_has_a_session_may_bring_files_to_the_pages_that_take_them(cookie: str, settings: Any) -> None:
    settings.UPLOAD_MOST_BYTES = 5 * MIB
    most = body_limit.FORM_BYTES + settings.UPLOAD_MOST_BYTES
    assert post("/w/some-slug/hand-in/", cookie=cookie).read == most + MIB
    assert post("/c/data/assignments/new/", cookie=cookie).read == most + MIB
    assert post("/somewhere/", cookie=cookie).read == body_limit.FORM_BYTES + MIB
    assert post("/w/some-slug/hand-in/").read == body_limit.FORM_BYTES + MIB


def test_the_page_is_in_the_persons_language(cookie: str) -> None:
    User.objects.update(language="fr")
    assert "Rien n’a été gardé" in post("/w/some-slug/hand-in/", cookie=cookie, length=10**12).text
