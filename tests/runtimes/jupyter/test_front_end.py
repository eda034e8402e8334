"""The front end's page, settings, languages and files."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import brotli
import httpx
import pytest

from runtimes.jupyter import frontend, hosts
from runtimes.models import Workspace
from tests.runtimes.jupyter.conftest import NOTEBOOK, SITE, Doors, browser, cookie_for

THEMES = "@jupyterlab/apputils-extension:themes"
LANGUAGE = "@jupyterlab/translation-extension:plugin"


async def _config(client: httpx.AsyncClient) -> dict[str, Any]:
    page = (await client.get(f"/notebooks/{NOTEBOOK}")).text
    found = re.search(r'<script id="jupyter-config-data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    config: dict[str, Any] = json.loads(found[1])
    return config


async def test_the_page_runs_cells_on_the_server(ada_browser: httpx.AsyncClient) -> None:
    config = await _config(ada_browser)
    assert config["serverSideExecution"] == "true"
    assert config["notebookStartsKernel"] is True
    assert config["siteOrigin"] == SITE
    assert config["token"] == ""
    assert not [e for e in config["federated_extensions"] if "nbgrader" in e["name"]]


async def test_a_readers_page_asks_for_no_kernel_and_allows_no_inline_script(tim_browser: httpx.AsyncClient) -> None:
    config = await _config(tim_browser)
    assert config["notebookStartsKernel"] is False
    policy = (await tim_browser.get(f"/notebooks/{NOTEBOOK}")).headers["content-security-policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "'unsafe-inline'" not in scripts


async def test_every_page_carries_the_policies(ada_browser: httpx.AsyncClient) -> None:
    answer = await ada_browser.get(f"/notebooks/{NOTEBOOK}")
    policy = answer.headers["content-security-policy"]
    for part in (f"frame-ancestors {SITE}", "object-src 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in policy
    assert "connect-src 'self'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"
    data = await ada_browser.get("/api/me")
    assert data.headers["content-security-policy"].startswith("default-src 'none'")
    assert data.headers["x-content-type-options"] == "nosniff"


async def test_collaborators_have_a_name_and_a_colour_that_stays(
    ada_browser: httpx.AsyncClient, tim_browser: httpx.AsyncClient
) -> None:
    ada, again, tim = [(await one.get("/api/me")).json()["identity"] for one in (ada_browser, ada_browser, tim_browser)]
    assert (ada["display_name"], tim["display_name"]) == ("Ada", "Tim")
    assert re.fullmatch(r"var\(--jp-collaborator-color[1-7]\)", ada["color"])
    assert ada == again


async def test_our_scripts_run_before_the_front_end(ada_browser: httpx.AsyncClient) -> None:
    page = (await ada_browser.get(f"/notebooks/{NOTEBOOK}")).text
    scripts = re.findall(r'<script defer[^>]*src="([^"]+)"', page)
    names = [one.rsplit("/", 1)[-1].split(".")[0] for one in scripts]
    assert names[-1] == "main"
    assert {"storage", "connection", "frame"} < set(names)
    assert "<script>" not in page


async def test_the_persons_language_and_theme_are_the_front_ends_defaults(
    application: Any, work: Workspace, doors: Doors
) -> None:
    doors.let_in("ada", work, language="fr", theme="dark")
    async with browser(application, work, cookie_for(work, "ada")) as client:
        listed = {one["id"]: one for one in (await client.get("/lab/api/settings")).json()["settings"]}
        one = (await client.get(f"/lab/api/settings/{THEMES}")).json()
        french = (await client.get("/lab/api/translations/fr_FR")).json()
    assert listed[LANGUAGE]["schema"]["properties"]["locale"]["default"] == "fr_FR"
    assert listed[THEMES]["schema"]["properties"]["theme"]["default"] == "JupyterLab Dark"
    assert one["schema"]["properties"]["theme"]["default"] == "JupyterLab Dark"
    assert french["data"]["jupyterlab"]


async def test_what_a_person_sets_is_kept_for_them_alone(
    ada_browser: httpx.AsyncClient, tim_browser: httpx.AsyncClient
) -> None:
    wish = {"raw": '{\n // mine\n "theme": "JupyterLab Dark"\n}'}
    assert (await ada_browser.put(f"/lab/api/settings/{THEMES}", json=wish)).status_code == 204
    mine = (await ada_browser.get(f"/lab/api/settings/{THEMES}")).json()
    assert (mine["raw"], mine["settings"]) == (wish["raw"], {"theme": "JupyterLab Dark"})
    theirs = (await tim_browser.get(f"/lab/api/settings/{THEMES}")).json()
    assert theirs["settings"] == {}


async def test_half_typed_settings_break_nothing(ada_browser: httpx.AsyncClient) -> None:
    await ada_browser.put(f"/lab/api/settings/{THEMES}", json={"raw": '{"theme": '})
    assert (await ada_browser.get("/lab/api/settings")).status_code == 200
    unknown = await ada_browser.put("/lab/api/settings/nobody:nothing", json={"raw": "{}"})
    assert unknown.status_code == 404


@pytest.mark.parametrize(("accepted", "unpack"), [("br", brotli.decompress), ("gzip", gzip.decompress), ("", bytes)])
async def test_files_of_the_front_end_are_compressed_and_kept_for_ever(
    application: Any, accepted: str, unpack: Any
) -> None:
    headers = {"accept-encoding": accepted}
    async with (
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application), base_url=hosts.static_origin(), headers=headers
        ) as client,
        client.stream("GET", f"/{frontend.key()}/own/frame.js") as answer,
    ):
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.status_code == 200
    assert answer.headers.get("content-encoding", "") == accepted
    assert unpack(raw) == (frontend.OWN_ASSETS / "frame.js").read_bytes()
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "path", ["own/../serve.py", "own/%2e%2e/serve.py", "own//etc/passwd", "nothing/x", "own", "own/.x", "", "own/\x00"]
)
async def test_only_files_of_the_front_end_are_served(application: Any, path: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url=hosts.static_origin()) as client:
        answer = await client.get(f"/{frontend.key()}/{path}".replace("\x00", "%00"))
    assert answer.status_code == 404


async def test_the_static_host_has_no_workspace(application: Any, work: Workspace) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url=hosts.static_origin()) as client:
        cookie = {"cookie": cookie_for(work, "ada")}
        assert (await client.get("/api/contents", headers=cookie)).status_code == 404
        assert (await client.post("/enter", headers=cookie)).status_code == 404
