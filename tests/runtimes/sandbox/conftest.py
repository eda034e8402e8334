"""Real sandboxes on this host, and a kernel to run code in."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from django.conf import settings

from runtimes.provider import Isolation
from runtimes.sandboxes import environment
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.sandbox.notebook import MASTER, UID, Notebook, start_notebook

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="session")
def environments_dir() -> Path:
    """Where the kernel environment is; made here on a machine without set-up."""
    folder = Path(settings.ENVIRONMENTS_DIR)
    if not environment.installed(folder):
        environment.ensure(Path(settings.BASE_DIR) / "requirements" / "kernel.txt", folder)
    return folder


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A short path that the sandboxes' user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="pup-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_config(environments_dir: Path) -> Iterator[SandboxConfig]:
    """For a test that makes a provider of its own."""
    with short_folder() as folder:
        yield SandboxConfig(run_dir=folder, environments_dir=environments_dir, master_key=MASTER, uid=UID)


@pytest.fixture(scope="module")
def config(environments_dir: Path) -> Iterator[SandboxConfig]:
    with short_folder() as folder:
        yield SandboxConfig(run_dir=folder, environments_dir=environments_dir, master_key=MASTER, uid=UID)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider(config: SandboxConfig) -> AsyncIterator[LocalProvider]:
    local = LocalProvider(config)
    await local.start()
    yield local
    await local.close()


@pytest.fixture(params=list(Isolation), ids=str)
def isolation(request: pytest.FixtureRequest) -> Isolation:
    chosen: Isolation = request.param
    return chosen


Opener = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module")
async def open_notebook(provider: LocalProvider) -> AsyncIterator[Opener]:
    """Starts a runtime with one kernel; everything is closed at the end."""
    opened: list[Notebook] = []

    async def open_one(name: str, **request: Any) -> Notebook:
        notebook = await start_notebook(provider, name, **request)
        opened.append(notebook)
        return notebook

    yield open_one
    for notebook in opened:
        await notebook.close()
        await provider.release(notebook.name)
