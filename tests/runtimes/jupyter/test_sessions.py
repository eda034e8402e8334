"""Kernels and sessions over REST: a page that is opened again, or twice, finds the notebook's one kernel."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from runtimes import storage
from runtimes.jupyter import sessions
from runtimes.jupyter.off_loop import off_loop
from runtimes.kernelspecs import Kernelspec
from runtimes.models import Kernel, Runtime, Session, Workspace
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.jupyter.conftest import NOTEBOOK, ready_runtime


def _body(path: str = NOTEBOOK) -> dict[str, object]:
    return {"path": path, "name": "problem1.ipynb", "type": "notebook", "kernel": {"name": "python3"}}


async def test_a_session_starts_at_once_and_asks_for_a_runtime(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    answer = await ada_browser.post("/api/sessions", json=_body())
    assert answer.status_code == 201
    model = answer.json()
    assert model["kernel"]["execution_state"] == "starting"
    assert (await Runtime.objects.aget()).state == Runtime.State.QUEUED
    assert (await ada_browser.get("/api/sessions")).json() == [model]
    assert (await ada_browser.get("/api/kernels")).json() == [model["kernel"]]
    assert (await ada_browser.get(f"/api/kernels/{model['kernel']['id']}")).json() == model["kernel"]


async def test_asked_again_it_is_the_same_session(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    first, second = [(await ada_browser.post("/api/sessions", json=_body())).json() for _ in range(2)]
    assert first["id"] == second["id"]
    assert await Kernel.objects.acount() == 1


async def test_pages_that_open_at_once_share_one_kernel(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    answers = await asyncio.gather(*[ada_browser.post("/api/sessions", json=_body()) for _ in range(4)])
    assert len({answer.json()["kernel"]["id"] for answer in answers}) == 1
    assert len((await ada_browser.get("/api/kernels")).json()) == 1


async def test_a_made_up_path_that_is_renamed_joins_the_notebooks_kernel(
    ada_browser: httpx.AsyncClient, work: Workspace
) -> None:
    """What the front end does when it found no session: a POST at an invented path, then PATCH."""
    first = (await ada_browser.post("/api/sessions", json=_body())).json()
    made_up = (await ada_browser.post("/api/sessions", json=_body(f"ps1/{uuid4()}"))).json()
    assert made_up["kernel"]["id"] != first["kernel"]["id"]
    renamed = (await ada_browser.patch(f"/api/sessions/{made_up['id']}", json={"path": NOTEBOOK})).json()
    assert (renamed["path"], renamed["kernel"]["id"]) == (NOTEBOOK, first["kernel"]["id"])
    alive = [kernel["id"] for kernel in (await ada_browser.get("/api/kernels")).json()]
    assert alive == [first["kernel"]["id"]], "the kernel that nobody needs is stopped"


async def test_two_notebooks_have_two_kernels_in_one_runtime(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    for path in (NOTEBOOK, "ps1/problem2.ipynb"):
        await ada_browser.post("/api/sessions", json=_body(path))
    assert await Kernel.objects.acount() == 2
    assert await Runtime.objects.acount() == 1


async def test_only_a_notebooks_page_has_a_kernel_ready(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    """A browser asks for a picture that a notebook shows beside the notebook: /notebooks/ps1/jupyter.png."""
    await off_loop(storage.write, work, "ps1/jupyter.png", b"no real picture")
    assert (await ada_browser.get("/notebooks/ps1/jupyter.png")).status_code == 200
    assert (await ada_browser.get("/api/kernels")).json() == []
    assert (await ada_browser.get(f"/notebooks/{NOTEBOOK}")).status_code == 200
    assert len((await ada_browser.get("/api/kernels")).json()) == 1


async def test_the_end_of_a_session_is_the_end_of_its_kernel(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    model = (await ada_browser.post("/api/sessions", json=_body())).json()
    assert (await ada_browser.delete(f"/api/sessions/{model['id']}")).status_code == 204
    assert (await ada_browser.get("/api/kernels")).json() == []
    assert (await ada_browser.get(f"/api/sessions/{model['id']}")).status_code == 404


async def test_a_kernel_of_an_ended_runtime_is_replaced(
    ada_browser: httpx.AsyncClient, work: Workspace, run_dir: Path
) -> None:
    first = (await ada_browser.post("/api/sessions", json=_body())).json()
    await Runtime.objects.aupdate(state=Runtime.State.STOPPED)
    assert (await ada_browser.get("/api/sessions")).json() == []
    second = (await ada_browser.post("/api/sessions", json=_body())).json()
    assert second["kernel"]["id"] != first["kernel"]["id"]


async def test_a_page_that_is_loaded_has_its_kernel_ready(ada_browser: httpx.AsyncClient, work: Workspace) -> None:
    await ada_browser.get(f"/notebooks/{NOTEBOOK}")
    assert [one["path"] for one in (await ada_browser.get("/api/sessions")).json()] == [NOTEBOOK]


async def test_a_readers_page_starts_nothing(tim_browser: httpx.AsyncClient, work: Workspace) -> None:
    await tim_browser.get(f"/notebooks/{NOTEBOOK}")
    assert not await Kernel.objects.aexists()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"path": "../x", "kernel": {"name": "python3"}},
        {"path": "x", "kernel": {"name": "bash"}},
        {"path": "x", "kernel": {"id": "nonsense"}},
        {"path": "x", "kernel": []},
        {"path": ["x"]},
    ],
)
async def test_what_cannot_be_a_session_is_refused(ada_browser: httpx.AsyncClient, body: dict[str, object]) -> None:
    answer = await ada_browser.post("/api/sessions", json=body)
    assert answer.status_code == 400 or body == {"path": "x", "kernel": []}
    assert await Session.objects.acount() <= 1


async def test_anothers_kernel_is_not_found(
    ada_browser: httpx.AsyncClient, work: Workspace, other_work: Workspace
) -> None:
    await sessions.start(other_work.pk, _body())
    theirs = await Kernel.objects.aget(workspace=other_work)
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/interrupt"),
        ("POST", "/restart"),
        ("POST", "/execute"),
    ):
        answer = await ada_browser.request(
            method, f"/api/kernels/{theirs.pk}{path}", json={"cell_id": "c0", "document_id": "x"}
        )
        assert answer.status_code == 404
    joined = await ada_browser.post("/api/sessions", json={"path": "x", "kernel": {"id": str(theirs.pk)}})
    assert joined.status_code == 404


async def test_a_kernel_that_cannot_be_had_is_told_in_a_sentence(
    ada_browser: httpx.AsyncClient, work: Workspace, run_dir: Path
) -> None:
    runtime = await off_loop(ready_runtime, work, run_dir / "gone")
    kernel = await Kernel.objects.acreate(runtime=runtime, workspace=work, index=0, state=Kernel.State.RUNNING)
    answer = await ada_browser.post(f"/api/kernels/{kernel.pk}/interrupt")
    assert answer.status_code == 503
    assert answer.json()["message"]


async def test_kernels_of_the_environment_are_offered_and_no_others_started(
    ada_browser: httpx.AsyncClient, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalProvider, "kernelspecs", lambda _self, _environment: {"ir": Kernelspec("ir", "R", "r")})
    offered = (await ada_browser.get("/api/kernelspecs")).json()
    assert offered["default"] == "python3"
    assert {name: spec["spec"]["display_name"] for name, spec in offered["kernelspecs"].items()} == {
        "python3": "Python 3 (Small)",
        "ir": "R",
    }
    answer = await ada_browser.post("/api/sessions", json={**_body(), "kernel": {"name": "ir"}})
    assert (answer.status_code, answer.json()["kernel"]["name"]) == (201, "ir")
    kernel = await Kernel.objects.aget()
    assert (kernel.name, kernel.index) == ("ir", 1), "index 0 starts with the runtime, as Python's"
    spec = '{"cells": [], "metadata": {"kernelspec": {"name": "%s"}}, "nbformat": 4, "nbformat_minor": 5}'
    for name in ("ir", "julia-1.10"):
        await off_loop(storage.write, work, f"ps1/{name}.ipynb", (spec % name).encode())
        assert (await ada_browser.get(f"/notebooks/ps1/{name}.ipynb")).status_code == 200
    prepared = Session.objects.select_related("kernel").exclude(path=NOTEBOOK)
    assert {session.path: session.kernel.name async for session in prepared} == {
        "ps1/ir.ipynb": "ir",
        "ps1/julia-1.10.ipynb": "python3",
    }
    answer = await ada_browser.post("/api/kernels", json={"name": "julia-1.10"})
    assert (answer.status_code, await Kernel.objects.acount()) == (400, 3)
