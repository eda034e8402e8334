"""Files of a workspace over the contents interface."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from asgiref.sync import sync_to_async

from runtimes import storage
from runtimes.endpoint import Endpoint
from runtimes.jupyter import contents, document
from runtimes.jupyter.contents import MOST_BODY_BYTES
from runtimes.models import Workspace, WorkspaceFile
from tests.runtimes.fakes import FakeAgent
from tests.runtimes.jupyter.conftest import NOTEBOOK, browser, cookie_for, ready_runtime

FILE = "/api/contents/"


@pytest.fixture
async def disk(work: Workspace, run_dir: Path) -> AsyncIterator[FakeAgent]:
    """The agent of Ada's live runtime, which has her files."""
    runtime = await sync_to_async(ready_runtime)(work, run_dir / "rt")
    agent = FakeAgent(Endpoint.from_json(runtime.endpoint))
    await storage.push(runtime)
    yield agent
    await agent.close()


async def followed() -> None:
    """Returns when the runtimes have what was changed."""
    await asyncio.gather(*contents._copying)


async def test_a_notebook_is_read_with_content_and_hash(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    model = (await ada_browser.get(FILE + NOTEBOOK, params={"content": 1, "hash": 1, "type": "notebook"})).json()
    assert model["type"] == "notebook"
    assert model["format"] == "json"
    assert model["writable"] is True
    assert [cell["source"] for cell in model["content"]["cells"]] == ["x = 1", "x"]
    assert model["hash"] == (await WorkspaceFile.objects.aget(path=NOTEBOOK)).blob_id
    bare = (await ada_browser.get(FILE + NOTEBOOK, params={"content": 0})).json()
    assert bare["content"] is None


async def test_an_open_notebook_is_read_from_its_document(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    await sync_to_async(document.opened)(work.pk, NOTEBOOK, "json", "notebook")
    content = (await ada_browser.get(FILE + NOTEBOOK)).json()["content"]
    content["cells"][0]["source"] = "x = 2"
    await document.post_edit(work, NOTEBOOK, content)
    again = (await ada_browser.get(FILE + NOTEBOOK)).json()["content"]
    assert again["cells"][0]["source"] == "x = 2"


async def test_saving_an_open_notebook_is_an_edit_of_its_document(
    ada_browser: httpx.AsyncClient, work: Workspace
) -> None:
    await sync_to_async(document.opened)(work.pk, NOTEBOOK, "json", "notebook")
    model = (await ada_browser.get(FILE + NOTEBOOK)).json()
    model["content"]["cells"][0]["source"] = "x = 3"
    assert (await ada_browser.put(FILE + NOTEBOOK, json=model)).status_code == 200
    current = nbformat.reads((await document.current(work, NOTEBOOK)).decode(), as_version=4)
    assert current.cells[0].source == "x = 3"


async def test_folders_are_what_paths_have_in_common(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    top = (await ada_browser.get("/api/contents")).json()
    assert [(entry["name"], entry["type"]) for entry in top["content"]] == [("ps1", "directory")]
    inside = (await ada_browser.get(FILE + "ps1")).json()
    assert {(entry["name"], entry["type"]) for entry in inside["content"]} == {
        ("problem1.ipynb", "notebook"),
        ("data.csv", "file"),
    }
    assert (await ada_browser.get(FILE + "ps2")).status_code == 404


async def test_hidden_files_cannot_be_seen_or_written(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    for path in (".secret", "ps1/.ipynb_checkpoints/problem1.ipynb", "__pycache__/x.pyc"):
        await storage.awrite(work, path, b"{}")
        assert (await ada_browser.get(FILE + path)).status_code == 404
        assert (await ada_browser.get("/files/" + path)).status_code == 404
        assert (await ada_browser.put(FILE + path, json={"type": "file", "format": "text", "content": ""})).is_error
    listed = (await ada_browser.get("/api/contents")).text + (await ada_browser.get(FILE + "ps1")).text
    assert "secret" not in listed
    assert "checkpoints" not in listed
    assert "pycache" not in listed


@pytest.mark.parametrize("path", ["../x", "ps1/../../x", "ps1/%2e%2e/x", "a//b", "ps1/\x07", "x" * 600])
async def test_paths_outside_are_not_there(ada_browser: httpx.AsyncClient, path: str) -> None:
    body = {"type": "file", "format": "text", "content": "x"}
    assert (await ada_browser.put(FILE + path.replace("\x07", "%07"), json=body)).status_code in {400, 404}


async def test_text_and_binary_come_back_as_they_went(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    body = {"type": "file", "format": "text", "content": "été\n"}
    assert (await ada_browser.put(FILE + "notes.txt", json=body)).status_code == 201
    assert (await ada_browser.get(FILE + "notes.txt")).json()["content"] == "été\n"
    raw = bytes(range(256))
    body = {"type": "file", "format": "base64", "content": base64.b64encode(raw).decode()}
    assert (await ada_browser.put(FILE + "x.bin", json=body)).status_code == 201
    model = (await ada_browser.get(FILE + "x.bin")).json()
    assert (model["format"], base64.b64decode(model["content"])) == ("base64", raw)
    assert (await ada_browser.get(FILE + "x.bin", params={"format": "text"})).status_code == 400


async def test_what_is_no_notebook_is_not_saved_as_one(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    for content in ("text", {"cells": 3}, {}):
        body = {"type": "notebook", "format": "json", "content": content}
        answer = await ada_browser.put(FILE + "bad.ipynb", json=body)
        assert answer.status_code == 400
        assert answer.json()["message"]


async def test_too_large_a_file_is_refused_with_a_sentence(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    await Workspace.objects.filter(pk=work.pk).aupdate(quota_bytes=1000)
    body = {"type": "file", "format": "text", "content": "x" * 2000}
    full = await ada_browser.put(FILE + "big.txt", json=body)
    assert full.status_code == 413
    assert "no room left" in full.json()["message"]
    huge = await ada_browser.put(FILE + "big.txt", content=b"{}", headers={"content-length": str(1 << 40)})
    assert huge.status_code == 413


@pytest.mark.parametrize("data", [b"[]", b"{", b"\xff", b"[" * 100_000, b'{"type": 3}'])
async def test_what_is_not_understood_is_refused(ada_browser: httpx.AsyncClient, data: bytes) -> None:
    answer = await ada_browser.put(FILE + "x.txt", content=data)
    assert answer.status_code == 400
    assert answer.json()["message"]


async def test_new_files_get_the_first_free_name(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    names = [(await ada_browser.post(FILE + "ps1", json={"type": "notebook"})).json()["path"] for _ in range(2)]
    assert names == ["ps1/Untitled.ipynb", "ps1/Untitled1.ipynb"]
    folder = (await ada_browser.post("/api/contents", json={"type": "directory"})).json()
    assert (folder["path"], folder["type"]) == ("Untitled Folder", "directory")
    assert (await ada_browser.get(FILE + "Untitled Folder")).json()["content"] == []
    copied = (await ada_browser.post(FILE + "ps1", json={"copy_from": "ps1/data.csv"})).json()
    assert copied["path"] == "ps1/data-Copy.csv"


async def test_rename_moves_the_document_too(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    opened, _new = await sync_to_async(document.opened)(work.pk, NOTEBOOK, "json", "notebook")
    answer = await ada_browser.patch(FILE + NOTEBOOK, json={"path": "ps1/mine.ipynb"})
    assert answer.json()["path"] == "ps1/mine.ipynb"
    again, new = await sync_to_async(document.opened)(work.pk, "ps1/mine.ipynb", "json", "notebook")
    assert (again.pk, new) == (opened.pk, False)
    taken = await ada_browser.patch(FILE + "ps1/mine.ipynb", json={"path": "ps1/data.csv"})
    assert taken.status_code == 409


async def test_a_removed_notebook_is_gone_and_so_is_its_document(
    ada_browser: httpx.AsyncClient, work: Workspace
) -> None:
    await sync_to_async(document.opened)(work.pk, NOTEBOOK, "json", "notebook")
    assert (await ada_browser.delete(FILE + NOTEBOOK)).status_code == 204
    assert (await ada_browser.get(FILE + NOTEBOOK)).status_code == 404
    assert not await work.documents.aexists()
    assert (await ada_browser.delete(FILE)).is_error


async def test_a_checkpoint_is_kept_restored_and_forgotten(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    kept = (await ada_browser.post(FILE + NOTEBOOK + "/checkpoints")).json()
    model = (await ada_browser.get(FILE + NOTEBOOK)).json()
    model["content"]["cells"][0]["source"] = "spoiled"
    await ada_browser.put(FILE + NOTEBOOK, json=model)
    assert [one["id"] for one in (await ada_browser.get(FILE + NOTEBOOK + "/checkpoints")).json()] == [kept["id"]]
    assert (await ada_browser.post(f"{FILE}{NOTEBOOK}/checkpoints/{kept['id']}")).status_code == 204
    restored = (await ada_browser.get(FILE + NOTEBOOK)).json()["content"]
    assert restored["cells"][0]["source"] == "x = 1"
    assert (await ada_browser.delete(f"{FILE}{NOTEBOOK}/checkpoints/{kept['id']}")).status_code == 204
    assert (await ada_browser.get(FILE + NOTEBOOK + "/checkpoints")).json() == []
    assert (await ada_browser.post(f"{FILE}ps1/data.csv/checkpoints/{kept['id']}")).status_code == 404


async def test_a_file_is_downloaded_as_it_is(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    answer = await ada_browser.get("/files/ps1/data.csv", params={"download": 1})
    assert answer.content == b"a,b\n1,2\n"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''data.csv"
    unchanged = await ada_browser.get("/files/ps1/data.csv", headers={"if-none-match": answer.headers["etag"]})
    assert unchanged.status_code == 304


async def test_an_open_notebook_is_downloaded_with_what_was_typed(
    ada_browser: httpx.AsyncClient, work: Workspace
) -> None:
    await sync_to_async(document.opened)(work.pk, NOTEBOOK, "json", "notebook")
    content = (await ada_browser.get(FILE + NOTEBOOK)).json()["content"]
    content["cells"][0]["source"] = "typed a moment ago"
    await document.post_edit(work, NOTEBOOK, content)
    text = (await ada_browser.get("/files/" + NOTEBOOK)).text
    assert "".join(json.loads(text)["cells"][0]["source"]) == "typed a moment ago"


async def test_a_reader_is_told_that_nothing_is_writable(tim_browser: httpx.AsyncClient, work: Workspace) -> None:
    assert (await tim_browser.get(FILE + NOTEBOOK)).json()["writable"] is False
    answer = await tim_browser.put(FILE + NOTEBOOK, json={})
    assert answer.status_code == 403
    assert "may read" in answer.json()["message"]


async def test_a_removed_file_or_folder_leaves_the_live_runtimes_disk(
    ada_browser: httpx.AsyncClient, work: Workspace, disk: FakeAgent
) -> None:
    disk.files["ps1/made-by-code.txt"] = b"not pulled yet"
    assert (await ada_browser.delete(FILE + "ps1/data.csv")).status_code == 204
    await followed()
    assert set(disk.files) == {NOTEBOOK, "ps1/made-by-code.txt"}
    assert (await ada_browser.delete(FILE + "ps1")).status_code == 204
    await followed()
    assert (disk.files, disk.known) == ({}, {})


async def test_a_change_is_kept_where_the_runtimes_key_is_not_known_yet(
    ada_browser: httpx.AsyncClient, work: Workspace, disk: FakeAgent
) -> None:
    runtime = await work.runtimes.aget()
    runtime.endpoint["key_version"] += 1
    await runtime.asave()
    assert (await ada_browser.delete(FILE + "ps1/data.csv")).status_code == 204
    await followed()
    assert [row.path async for row in storage.files(work)] == [NOTEBOOK]


async def test_a_renamed_file_or_folder_moves_on_the_live_runtimes_disk(
    ada_browser: httpx.AsyncClient, work: Workspace, disk: FakeAgent
) -> None:
    await ada_browser.patch(FILE + "ps1/data.csv", json={"path": "ps1/numbers.csv"})
    await followed()
    assert set(disk.files) == {NOTEBOOK, "ps1/numbers.csv"}
    disk.files["ps1/made-by-code.txt"] = b"not pulled yet"
    await ada_browser.patch(FILE + "ps1", json={"path": "week1"})
    await followed()
    assert set(disk.files) == {"week1/problem1.ipynb", "week1/numbers.csv", "week1/made-by-code.txt"}
    assert "remove" not in disk.asked
    await storage.pull(await work.runtimes.aget())
    files = {row.path for row in await storage.afiles(work)}
    assert files == {"week1/problem1.ipynb", "week1/numbers.csv", "week1/made-by-code.txt"}


async def test_a_file_made_again_at_once_stays_on_the_live_runtimes_disk(
    ada_browser: httpx.AsyncClient, work: Workspace, disk: FakeAgent
) -> None:
    await ada_browser.delete(FILE + "ps1")
    await ada_browser.put(FILE + "ps1/data.csv", json={"type": "file", "format": "text", "content": "new"})
    await followed()
    assert disk.files == {"ps1/data.csv": b"new"}


async def test_a_file_is_removed_though_the_runtime_does_not_answer(
    ada_browser: httpx.AsyncClient, work: Workspace, disk: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.disk.FOLLOW_SECONDS", 0.05)
    await disk.close()
    assert (await ada_browser.delete(FILE + "ps1/data.csv")).status_code == 204
    await followed()
    assert (await ada_browser.get(FILE + "ps1/data.csv")).status_code == 404


async def test_an_endless_upload_is_left_after_what_a_file_may_have(application: Any, work: Workspace) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1 << 20
            yield b"x" * (1 << 20)

    async def refused(**headers: str) -> str:
        async with browser(application, work, cookie_for(work, "ada"), **headers) as client:
            answer = await client.put(FILE + "large.txt", content=endless())
        assert answer.status_code == 413
        return str(answer.json()["message"])

    assert "too large" in await refused()
    assert taken == MOST_BODY_BYTES + (1 << 20)
    taken = 0
    assert "too large" in await refused(**{"content-length": str(MOST_BODY_BYTES + 1)})
    assert taken == 0
