"""The door of a notebook host."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from runtimes.jupyter import tickets
from runtimes.models import Ticket, Workspace
from tests.runtimes.jupyter.conftest import NOTEBOOK, SITE, Doors, browser, cookie_for


async def _enter(application: Any, workspace: Workspace, secret: str, target: str = NOTEBOOK, **headers: str):
    async with browser(application, workspace, **{"origin": "null", **headers}) as client:
        return await client.post("/enter", data={"ticket": secret, "next": target})


def _ticket(workspace: Workspace, subject: str = "ada", mode: str = "write") -> str:
    return tickets.issue(workspace=workspace, subject=subject, display_name="Ada", mode=mode)  # type: ignore[arg-type]


async def test_a_ticket_opens_the_notebook_and_is_swapped_for_a_cookie(application: Any, work: Workspace) -> None:
    answer = await _enter(application, work, await _off(_ticket, work))
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/notebooks/{NOTEBOOK}"
    name, *flags = answer.headers["set-cookie"].split("; ")
    assert name.startswith("__Host-nb=")
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=None", "Partitioned"} <= set(flags)
    async with browser(application, work, name) as client:
        page = await client.get(answer.headers["location"])
    assert page.status_code == 200
    assert "jupyter-config-data" in page.text


async def test_a_ticket_works_once(application: Any, work: Workspace) -> None:
    secret = await _off(_ticket, work)
    assert (await _enter(application, work, secret)).status_code == 303
    again = await _enter(application, work, secret)
    assert again.status_code == 403
    assert "set-cookie" not in again.headers


async def test_a_ticket_expires(application: Any, work: Workspace) -> None:
    secret = await _off(_ticket, work)
    await Ticket.objects.aupdate(expires_at=timezone.now() - timedelta(seconds=1))
    assert (await _enter(application, work, secret)).status_code == 403


async def test_a_ticket_opens_no_other_workspace_and_stays_good_for_its_own(
    application: Any, work: Workspace, other_work: Workspace
) -> None:
    secret = await _off(_ticket, work)
    assert (await _enter(application, other_work, secret)).status_code == 403
    assert (await _enter(application, work, secret)).status_code == 303


async def test_a_ticket_in_an_address_opens_nothing(application: Any, work: Workspace) -> None:
    secret = await _off(_ticket, work)
    async with browser(application, work) as client:
        assert (await client.get(f"/enter?ticket={secret}&next={NOTEBOOK}")).status_code in {403, 405}
        assert (await client.get(f"/notebooks/{NOTEBOOK}?ticket={secret}")).status_code == 403
    assert not await Ticket.objects.filter(used_at__isnull=False).aexists()


async def test_only_the_sites_form_may_show_a_ticket(application: Any, work: Workspace) -> None:
    secret = await _off(_ticket, work)
    foreign = await _enter(application, work, secret, origin="https://evil.example")
    assert foreign.status_code == 403
    assert (await _enter(application, work, secret, origin=SITE)).status_code == 303


@pytest.mark.parametrize("target", ["//evil.example/x.ipynb", "../x.ipynb", "https://evil.example", "", "a/../b"])
async def test_a_ticket_leads_nowhere_but_into_the_workspace(application: Any, work: Workspace, target: str) -> None:
    answer = await _enter(application, work, await _off(_ticket, work), target)
    assert answer.status_code == 404 or answer.headers["location"].startswith("/notebooks/")


async def test_only_the_digest_of_a_ticket_is_stored(work: Workspace) -> None:
    secret = await _off(_ticket, work)
    ticket = await Ticket.objects.aget()
    assert secret not in str(vars(ticket))


async def test_an_unknown_host_gets_a_sentence(application: Any, work: Workspace) -> None:
    transport = httpx.ASGITransport(application)
    for name in ("wnobodyhasthisone", "x", "static.static", "w-" + work.slug):
        url = f"http://{name}.localhost:8000/notebooks/{NOTEBOOK}"
        async with httpx.AsyncClient(transport=transport) as client:
            answer = await client.get(url)
        assert answer.status_code == 404
        assert "There is no notebook at this address" in answer.text


async def test_a_refusal_is_told_in_the_readers_language(application: Any, work: Workspace) -> None:
    async with browser(application, work, **{"accept-language": "fr-CH, en;q=0.5"}) as client:
        answer = await client.get(f"/notebooks/{NOTEBOOK}")
    assert answer.status_code == 403
    assert '<html lang="fr">' in answer.text


async def test_anothers_cookie_opens_nothing(application: Any, work: Workspace, other_work: Workspace) -> None:
    async with browser(application, work, cookie_for(other_work, "ben")) as client:
        assert (await client.get(f"/api/contents/{NOTEBOOK}")).status_code == 403


async def test_a_forged_cookie_opens_nothing(application: Any, work: Workspace) -> None:
    for cookie in ("__Host-nb=", "__Host-nb=x:y:z", cookie_for(work, "ada")[:-2] + "xx", 'a="; __Host-nb={'):
        async with browser(application, work, cookie) as client:
            assert (await client.get("/api/me")).status_code == 403


async def test_someone_whose_access_ended_is_out_at_the_next_request(
    application: Any, work: Workspace, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.jupyter.access.REMEMBERED_SECONDS", 0)
    async with browser(application, work, cookie_for(work, "ada")) as client:
        assert (await client.get("/api/me")).status_code == 200
        doors.shut_out("ada", work)
        assert (await client.get("/api/me")).status_code == 403


async def test_a_ticket_to_read_gives_no_more_than_reading(application: Any, work: Workspace) -> None:
    async with browser(application, work, cookie_for(work, "ada", "read")) as client:
        assert (await client.put("/api/contents/x.txt", json={})).status_code == 403


async def test_a_closed_workspace_is_read_only_for_its_owner(application: Any, work: Workspace) -> None:
    await Workspace.objects.filter(pk=work.pk).aupdate(read_only=True)
    async with browser(application, work, cookie_for(work, "ada")) as client:
        assert (await client.get(f"/api/contents/{NOTEBOOK}")).status_code == 200
        assert (await client.delete(f"/api/contents/{NOTEBOOK}")).status_code == 403


async def _off(work: Any, *arguments: Any) -> Any:
    from asgiref.sync import sync_to_async

    return await sync_to_async(work)(*arguments)
