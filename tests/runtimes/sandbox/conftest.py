"""Real sandboxes on this host, and a kernel to run code in."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from runtimes.provider import Isolation
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.providers import sandbox_config
from tests.runtimes.sandbox.attacks import ABSTRACT
from tests.runtimes.sandbox.notebook import Notebook, close_notebooks, start_notebook


@pytest.fixture
def own_config() -> Iterator[SandboxConfig]:
    """For a test that makes a provider of its own."""
    with sandbox_config() as made:
        yield made


@pytest.fixture(scope="module")
def config() -> Iterator[SandboxConfig]:
    with sandbox_config() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider(config: SandboxConfig) -> AsyncIterator[LocalProvider]:
    local = LocalProvider(config)
    await local.start()
    yield local
    await close_notebooks(local)
    await local.close()


@pytest.fixture(params=list(Isolation), ids=str)
def isolation(request: pytest.FixtureRequest) -> Isolation:
    chosen: Isolation = request.param
    return chosen


Opener = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module")
async def open_notebook(provider: LocalProvider) -> AsyncIterator[Opener]:
    """Starts a runtime with one kernel; everything is closed at the end, what did not start as well."""
    names: list[str] = []
    opened: list[Notebook] = []

    async def open_one(name: str, **request: Any) -> Notebook:
        names.append(name)
        notebook = await start_notebook(provider, name, **request)
        opened.append(notebook)
        return notebook

    yield open_one
    for notebook in opened:
        await notebook.close()
    for name in names:
        await provider.release(name)


@pytest.fixture(scope="module")
def host_port() -> Iterator[int]:
    """A listener on the host's loopback, and one on an abstract Unix socket."""
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as local:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        local.bind(f"\0{ABSTRACT}")
        local.listen()
        port: int = tcp.getsockname()[1]
        yield port
