"""Every provider that must keep the contract. A new one adds a function and a name here; no test changes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from django.conf import settings

from runtimes.provider import Isolation, Provider
from runtimes.sandboxes import environment
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.pods import real

MASTER = real.MASTER
UID = settings.SANDBOX_UID if os.geteuid() == 0 else os.geteuid()
# most: how many runtimes the provider may run at once (0: any number).
Factory = Callable[[int], AbstractAsyncContextManager[Provider]]


def environments_dir() -> Path:
    """Where the kernel environment is; made here on a machine without set-up."""
    folder = Path(settings.ENVIRONMENTS_DIR)
    if not environment.installed(folder):
        environment.ensure(Path(settings.BASE_DIR) / "requirements" / "kernel.txt", folder)
    return folder


def environment_with_bash() -> environment.KernelEnvironment:
    """A small kernel environment that has a kernel for bash beside Python's, apart from the others; made once a
    machine."""
    base, apart = Path(settings.BASE_DIR), Path(settings.ENVIRONMENTS_DIR) / "with-bash"
    lock = base / "requirements" / "kernel-bash.txt"
    return environment.ensure(lock, apart, more_kernels=base / "tests" / "kernelspecs")


@contextmanager
def sandbox_config(environments: Path | None = None) -> Iterator[SandboxConfig]:
    """In a short folder that the sandboxes' user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="pup-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        kernels = environments or environments_dir()
        yield SandboxConfig(run_dir=folder, environments_dir=kernels, master_key=MASTER, uid=UID)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _local(isolation: Isolation) -> Factory:
    @asynccontextmanager
    async def make(most: int) -> AsyncIterator[Provider]:
        with sandbox_config() as config:
            provider = LocalProvider(replace(config, isolation=isolation, most=most))
            await provider.start()
            try:
                yield provider
            finally:
                await provider.close()

    return make


@asynccontextmanager
async def _pods(most: int) -> AsyncIterator[Provider]:
    """On a real cluster, or the test says that there is none."""
    real.skip_without_cluster()
    async with real.own_namespace() as (_admin, config), real.running(config, most) as provider:
        yield provider


PROVIDERS: dict[str, Factory] = {
    "local-forked": _local(Isolation.FORKED),
    "local-strict": _local(Isolation.STRICT),
    "pods": _pods,
}
