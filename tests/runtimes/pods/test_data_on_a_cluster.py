"""Data sets on a real cluster: a volume that a claim names is at /data, for reading only; without it nobody waits."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runtimes.machine import DataVolume, Machine
from runtimes.pods.config import ClusterConfig
from runtimes.provider import Phase, Reason, Request
from tests.runtimes.pods.real import SMALL, Admin, needs_cluster, own_namespace, running
from tests.runtimes.sandbox.notebook import settled, start_notebook

pytestmark = [needs_cluster, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
CLAIM = "sets"


@asynccontextmanager
async def claimed(admin: Admin, config: ClusterConfig, folder: Path) -> AsyncIterator[None]:
    """A folder of the node as the volume behind a claim of the runtimes' namespace, as an administrator makes it."""
    volume = f"{config.namespace}-{CLAIM}"
    size: dict[str, Any] = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    await admin.call(
        "POST",
        "PersistentVolume",
        body={
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {**size, "capacity": {"storage": "1Gi"}, "hostPath": {"path": str(folder), "type": "Directory"}},
        },
    )
    try:
        await admin.call(
            "POST",
            "PersistentVolumeClaim",
            body={
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": CLAIM, "namespace": config.namespace},
                "spec": {**size, "volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}},
            },
        )
        yield
    finally:
        await admin.call("DELETE", "PersistentVolume", volume)


@pytest.fixture
def folder() -> Iterator[Path]:
    """With one file, and a folder that anyone on the node may write into."""
    with tempfile.TemporaryDirectory(prefix="sets-", dir="/tmp") as made:
        path = Path(made)
        path.chmod(0o755)
        (path / "irises.csv").write_text("5.1,3.5\n")
        (path / "open").mkdir()
        (path / "open").chmod(0o777)
        yield path
        assert not list((path / "open").iterdir())


async def test_data_sets_of_a_claim_are_read_and_cannot_be_written(folder: Path) -> None:
    async with own_namespace() as (admin, config), claimed(admin, config, folder), running(config) as provider:
        machine = Machine("data", data=DataVolume(CLAIM))
        notebook = await start_notebook(provider, "reads", limits=SMALL, machine=machine)
        assert await notebook.value("R = open('/data/irises.csv').read()") == "5.1,3.5\n"
        assert "Read-only file system" in await notebook.run("open('/data/open/mine', 'w')")
        await notebook.close()
        await provider.release("reads")
        # A claim that nobody made is no queue in which somebody could wait.
        nothing = Machine("nothing", data=DataVolume("no-sets"))
        await provider.acquire(Request("waits-in-vain", limits=SMALL, machine=nothing))
        status = await settled(provider, "waits-in-vain")
        assert (status.phase, status.reason) == (Phase.LOST, Reason.ERROR)
        assert 'persistentvolumeclaim "no-sets" not found' in status.message
        await provider.release("waits-in-vain")
