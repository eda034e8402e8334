"""Workspace hosts without a network: the ASGI application, people with tickets, and a real kernel behind a row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from django.conf import settings as django_settings

from runtimes import jupyter, storage
from runtimes.connection import kernel_connection
from runtimes.jupyter import hosts, tickets
from runtimes.jupyter.hooks import Access, Hooks
from runtimes.jupyter.off_loop import close_connections
from runtimes.models import GIB, Kernel, Profile, Runtime, Workspace

NOTEBOOK = "ps1/problem1.ipynb"


def notebook_bytes(*sources: str) -> bytes:
    cells = [nbformat.v4.new_code_cell(source, id=f"c{at}") for at, source in enumerate(sources)]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells)).encode()


@dataclass
class Doors:
    """Who may be where: what the classroom would answer."""

    open: dict[tuple[str, str], Access] = field(default_factory=dict)

    def let_in(self, subject: str, workspace: Workspace, mode: str = "write", **more: str) -> None:
        self.open[subject, workspace.slug] = Access(mode, subject.capitalize(), **more)  # type: ignore[arg-type]

    def shut_out(self, subject: str, workspace: Workspace) -> None:
        self.open.pop((subject, workspace.slug), None)

    async def access(self, subject: str, slug: str) -> Access | None:
        return self.open.get((subject, slug))


@pytest.fixture(autouse=True)
def _threads_let_go(transactional_db: None) -> Iterator[None]:
    # The application reads rows in threads of its own, which see only what is committed.
    yield
    close_connections()


@pytest.fixture
def doors() -> Doors:
    return Doors()


@pytest.fixture
def application(doors: Doors) -> Any:
    return jupyter.application(Hooks(access=doors.access))


@pytest.fixture
def work(profile: Profile, doors: Doors) -> Workspace:
    """Ada's workspace with one notebook and a data file. Ada works in it, `tim` may read it."""
    workspace = Workspace.objects.create(profile=profile, account="course-1", title="Ada: ps1", quota_bytes=GIB)
    storage.write(workspace, NOTEBOOK, notebook_bytes("x = 1", "x"))
    storage.write(workspace, "ps1/data.csv", b"a,b\n1,2\n")
    doors.let_in("ada", workspace)
    doors.let_in("tim", workspace, "read")
    return workspace


@pytest.fixture
def other_work(profile: Profile, doors: Doors) -> Workspace:
    """Ben's workspace."""
    workspace = Workspace.objects.create(profile=profile, account="course-1", title="Ben: ps1", quota_bytes=GIB)
    storage.write(workspace, NOTEBOOK, notebook_bytes("secret = 'of ben'"))
    doors.let_in("ben", workspace)
    return workspace


def cookie_for(workspace: Workspace, subject: str, mode: str = "write") -> str:
    credential = tickets.Credential(workspace.slug, subject, mode)  # type: ignore[arg-type]
    return tickets.cookie(credential).split(";")[0]


def browser(application: Any, workspace: Workspace, cookie: str = "", **headers: str) -> httpx.AsyncClient:
    """A browser at a workspace's host. With its host's Origin, as the page's own requests have it."""
    origin = hosts.origin(workspace.slug)
    sent = {"origin": origin, **headers} | ({"cookie": cookie} if cookie else {})
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url=origin, headers=sent)


@pytest.fixture
async def ada_browser(application: Any, work: Workspace) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(application, work, cookie_for(work, "ada")) as client:
        yield client


@pytest.fixture
async def tim_browser(application: Any, work: Workspace) -> AsyncIterator[httpx.AsyncClient]:
    """A TA, who reads."""
    async with browser(application, work, cookie_for(work, "tim", "read")) as client:
        yield client


def ready_runtime(workspace: Workspace, folder: Path) -> Runtime:
    """A row that says: a runtime is ready, its sockets are in `folder`."""
    folder.mkdir(exist_ok=True)
    endpoint = {"transport": "ipc", "host": str(folder), "identity": "test", "key_version": 1}
    return Runtime.objects.create(
        workspace=workspace,
        profile=workspace.profile,
        account="course-1",
        state=Runtime.State.READY,
        endpoint=endpoint,
    )


def start_kernel_process(runtime: Runtime, kernel: Kernel, folder: Path) -> subprocess.Popen[bytes]:
    """A kernel where the row says that one is: its sockets exist when a client can connect."""
    connection = folder / f"{kernel.index}.json"
    connection.write_text(json.dumps(kernel_connection(runtime, kernel)))
    environment = os.environ | {"IPYTHONDIR": str(folder / "ipython"), "JPY_PARENT_PID": str(os.getpid())}
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", str(connection)]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.fixture
def kernel(work: Workspace, run_dir: Path) -> Kernel:
    """A kernel in Ada's workspace: its row. `kernel_process` is its process."""
    runtime = ready_runtime(work, run_dir / "rt")
    return Kernel.objects.create(runtime=runtime, workspace=work, index=0, state=Kernel.State.RUNNING)


@pytest.fixture
def kernel_process(kernel: Kernel, run_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real kernel behind the row."""
    process = start_kernel_process(kernel.runtime, kernel, run_dir / "rt")
    yield process
    process.kill()
    process.wait()


SITE = django_settings.SITE_ORIGIN
