"""A site that runs is asked all that carries a person or a key in its address; then its logs are read."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from bench._launch_click import enter
from classroom import invite
from classroom.people.models import User
from tests.classroom.work import PS1
from tests.grading.live_clicks import Student, student
from tests.grading.live_steps import rows_and_files
from tests.live import LiveSite

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(600)]

ADA, NORA = "ada@example.org", "nora@example.org"
ASKED = "asked-for-in-a-query"
_TICKET = re.compile(r'name="ticket" value="([^"]+)"')
_LINK = re.compile(r"http\S+")


@pytest.fixture
def site(django_db_blocker: Any) -> Iterator[LiveSite]:
    """New for each try: the first has made its people."""
    with LiveSite(django_db_blocker) as live, rows_and_files(live):
        yield live


@pytest.fixture(autouse=True)
def _other_threads_let_go() -> None:
    """This test uses the running site's database, not the test's."""


def follows_invitations(site: LiveSite) -> list[str]:
    """By mail and on paper; one as it was typed wrong, too. Returns the secrets."""
    nora = User.objects.create_user("nora", NORA, None)
    links = [invite.issue(nora, None), invite.issue(nora, None, on_paper=True)]
    secrets = [link.rstrip("/").rpartition("/")[2] for link in links]
    for secret in [*secrets, secrets[1][:-1]]:
        httpx.get(f"{site.url}/join/{secret}/", follow_redirects=True)
        httpx.get(f"{site.url}/join/{secret}/?again={ASKED}")
    return secrets


def forgets_the_password(site: LiveSite) -> list[str]:
    """Asks for a mail and follows its link. Returns the key in it."""
    with httpx.Client(base_url=site.url) as browser:
        browser.get("/accounts/password/reset/")
        token = browser.cookies.get("csrf") or ""
        browser.post("/accounts/password/reset/", data={"email": ADA, "csrfmiddlewaretoken": token})
        mails = site.folder / "mail"
        site.until(lambda: any(ADA in one.read_text() for one in mails.glob("*")), "the mail was sent")
        text = next(one.read_text() for one in mails.glob("*") if ADA in one.read_text())
        link = next(found for found in _LINK.findall(text) if "password" in found)
        browser.get(link)
        browser.get(f"{link}?email={ADA}")
    return [link.rstrip("/").rpartition("/")[2]]


def enters_by_tickets(ada: Student) -> list[str]:
    """One that is good and one that was used; by mistake in an address. A socket is opened. Returns the secrets."""
    page = ada.page()
    ticket = _TICKET.search(page)
    assert ticket

    async def opened() -> str:
        host = await enter(page, httpx.URL(ada.url), PS1)
        async with aclosing(host.client):
            _room, connection = await host.document()
            await connection.close()
            again = await host.client.post("/enter", data={"ticket": ticket[1], "next": PS1})
            assert again.status_code in {400, 403, 410}
            await host.client.get(f"/enter?ticket={ticket[1]}")
            await host.client.get(f"/files/nothing?token={ASKED}&email={ADA}")
            return str(host.client.headers["cookie"].partition("=")[2])

    return [ticket[1], asyncio.run(opened())]


def asks_in_vain(site: LiveSite) -> None:
    """What is not there, at a host that is not ours, and what is no request."""
    query = f"?email={ADA}&word={ASKED}"
    assert httpx.get(f"{site.url}/nowhere/{query}").status_code == 404
    assert httpx.get(f"{site.url}/{query}", headers={"host": "evil.example"}).status_code == 400
    assert httpx.post(f"{site.url}/accounts/login/{query}", data={"login": ADA, "password": ASKED}).status_code == 403
    for request in (f"GET /{query} HTTP/9.9\r\n\r\n", f"BAD\x01 /{query} {ADA}\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", site.port), 60) as connection:
            connection.sendall(request.encode())
            connection.recv(1024)


def is_object(line: str) -> bool:
    """Whether a line of a log is one JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def test_each_line_of_every_log_is_an_object_that_names_no_person_and_keeps_no_key(site: LiveSite) -> None:
    ada = student(site)
    secrets = follows_invitations(site) + forgets_the_password(site) + enters_by_tickets(ada)
    asks_in_vain(site)
    assert ada.press("hand in") == 302
    ada.close()
    logs = {path.name: path.read_text() for path in (site.folder / "logs").glob("*.log")}
    assert {"site.log", "worker.log", "runtimes.log", "beat.log"} <= logs.keys()
    assert "/nowhere/" in logs["site.log"], "it tells of what was asked in vain"
    assert "/join/" in logs["site.log"]
    assert len(secrets) == 5
    values = [ADA, NORA, "ada%40example.org", ASKED, *secrets]
    kept = [(name, value) for name, text in logs.items() for value in values if value in text]
    assert kept == []
    assert not [value for value in values if value in site.output]
    assert [line for text in logs.values() for line in text.splitlines() if not is_object(line)] == []
