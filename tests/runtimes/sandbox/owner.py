"""A process that owns sandboxes until it is killed: RUN_DIR ENVIRONMENTS UID."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from runtimes.provider import Isolation, Phase, Request
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.providers import MASTER


async def own(run_dir: Path, environments: Path, uid: int) -> None:
    """Two sandboxes, a forked one and a strict one, then waits for ever."""
    provider = LocalProvider(SandboxConfig(run_dir, environments, MASTER, uid=uid))
    await provider.start()
    for isolation in Isolation:
        await provider.acquire(Request(f"kill-{isolation}", kernels=1, isolation=isolation))
    await provider.keep_warm([(Request("any"), 1)])
    while len([owned for owned in await provider.owned() if owned.status.phase is Phase.READY]) < 3:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    print("OWNED", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(own(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
