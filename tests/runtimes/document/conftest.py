"""A workspace with a notebook, and other processes that have it open."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from django.conf import settings
from django.db import connection

from runtimes import storage
from runtimes.jupyter import document
from runtimes.jupyter.document_log import document_log
from runtimes.jupyter.off_loop import close_connections
from runtimes.jupyter.open_documents import open_documents
from runtimes.jupyter.replica import Replica
from runtimes.models import Document, Workspace

PATH = "ps1/problem1.ipynb"
_CHILD = Path(__file__).with_name("other_process.py")


def make_notebook(*sources: str) -> bytes:
    """A notebook of code cells with the ids `c0`, `c1`, …"""
    cells = [nbformat.v4.new_code_cell(source, id=f"c{at}") for at, source in enumerate(sources)]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells)).encode()


@pytest.fixture(autouse=True)
def _other_threads_let_go(transactional_db: None):
    document_log.cache_clear()
    yield
    close_connections()


@pytest.fixture
def notebook(workspace: Workspace) -> Document:
    """Ada's notebook with the cells `c0` ("x = 1") and `c1` ("x")."""
    return put_notebook(workspace, "x = 1", "x")


def put_notebook(workspace: Workspace, *sources: str, path: str = PATH) -> Document:
    """A notebook in storage, opened."""
    storage.write(workspace, path, make_notebook(*sources), source="uploaded")
    return document.opened(workspace.pk, path, "json", "notebook")[0]


def saved(workspace: Workspace, path: str = PATH) -> dict[str, Any]:
    """The notebook in storage, checked to be valid."""
    row = storage.files(workspace).get(path=path)
    value = nbformat.reads(storage.read(row.blob).decode(), as_version=nbformat.NO_CONVERT)
    nbformat.validate(value)
    return value


def sources(replica: Replica) -> list[str]:
    return [str(cell["source"]) for cell in replica.view.ycells]


def cell(replica: Replica, cell_id: str) -> Any:
    return next(one for one in replica.view.ycells if one["id"] == cell_id)


def edit(replica: Replica, cell_id: str, text: str) -> None:
    """Adds to the end of a cell's source."""
    source = cell(replica, cell_id)["source"]
    source += text


async def until(check: Callable[[], Any] | Callable[[], Awaitable[Any]], what: str = "") -> Any:
    """What `check` returns once it is true."""
    async with asyncio.timeout(60):
        while True:
            value = check()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.01)


@pytest.fixture
async def replicas() -> AsyncIterator[Callable[[Document], Awaitable[Replica]]]:
    """Makes replicas of a document as if each were in a process of its own."""
    made: list[Replica] = []

    async def make(row: Document) -> Replica:
        made.append(await Replica.load(row.pk))
        return made[-1]

    yield make
    for replica in made:
        await replica.close()
    await open_documents().close()


class OtherProcess:
    """Another Python process with a document open; see other_process.py for its commands."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ask(self, command: str, **arguments: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        async with asyncio.timeout(60):
            return json.loads(await self.process.stdout.readline())["answer"]

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@pytest.fixture
async def start_process() -> AsyncIterator[Callable[[Document], Awaitable[OtherProcess]]]:
    started: list[OtherProcess] = []

    async def start(row: Document) -> OtherProcess:
        place = {
            "database": {key: str(connection.settings_dict[key]) for key in ("ENGINE", "NAME", "USER", "HOST", "PORT")},
            "password": connection.settings_dict["PASSWORD"],
            "run_dir": str(settings.RUN_DIR),
            "work_dir": str(settings.STORAGES["work"]["OPTIONS"]["location"]),
            "redis_url": settings.REDIS_URL,
            "document": str(row.pk),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(_CHILD), json.dumps(place),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=settings.BASE_DIR,
        )  # fmt: skip
        started.append(OtherProcess(process))
        await started[-1].ask("sources")
        return started[-1]

    yield start
    for each in started:
        if each.process.returncode is None:
            await each.kill()
