"""jupyter_client's seam: stock nbclient and nbgrader run their kernels in runtimes of any provider.

A kernelspec whose `metadata.kernel_provisioner` names `pupitre-runtime` is started by this (jupyter_client, kernel
provisioners). The project is not installed as a distribution, so `register` puts the entry point into the factory.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from importlib.metadata import EntryPoint
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Dict, Instance, List, Unicode, default

from runtimes.borrow import Borrowed, borrow
from runtimes.errors import KernelRefused, RuntimeFailed
from runtimes.models import Profile, Runtime

NAME = "pupitre-runtime"
KERNEL_NAME = "pupitre"
POLL_SECONDS = 0.1
# Waiting for a place in the queue is part of a start.
START_SECONDS = 900.0


def register() -> None:
    """Makes the provisioner known to jupyter_client in this process. Safe to repeat."""
    entry_point = EntryPoint(NAME, f"{__name__}:RuntimeProvisioner", KernelProvisionerFactory.GROUP_NAME)
    KernelProvisionerFactory.instance().provisioners[NAME] = entry_point


def kernel_spec(profile: Profile, *, account: str, purpose: str = Runtime.Purpose.GRADING) -> KernelSpec:
    """A Python kernel in a fresh runtime of `profile`, interrupted by message (Jupyter messaging, §interrupt)."""
    config = {"profile": profile.slug, "account": account, "purpose": str(purpose)}
    return KernelSpec(
        argv=[],
        display_name="Python 3",
        language="python",
        interrupt_mode="message",
        metadata={
            "kernel_provisioner": {"provisioner_name": NAME, "config": config},
            "supported_encryption": ["curve"],
        },
    )


class RuntimeKernelSpecs(KernelSpecManager):
    """Every kernel name means a kernel in a runtime: nothing is read from disk, nothing runs on this machine."""

    spec = Instance(KernelSpec)

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The one spec there is, whatever a notebook asks for."""
        register()
        return self.spec

    def find_kernel_specs(self) -> dict[str, str]:
        """Its name; it has no folder."""
        return {KERNEL_NAME: ""}


def manager_class(
    profile: Profile, *, account: str, purpose: str = Runtime.Purpose.GRADING
) -> type[AsyncKernelManager]:
    """For `kernel_manager_class` of nbclient and nbconvert's ExecutePreprocessor: every kernel runs in a runtime."""
    spec = kernel_spec(profile, account=account, purpose=purpose)

    class RuntimeKernelManager(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _only_runtimes(self) -> RuntimeKernelSpecs:
            return RuntimeKernelSpecs(spec=spec)

        def cleanup_ipc_files(self) -> None:
            """The sockets are the runtime's: they go with it."""

    return RuntimeKernelManager


class RuntimeProvisioner(KernelProvisionerBase):
    """Borrows a runtime for the life of one kernel manager; a restart stays in it."""

    profile = Unicode(help="slug of the profile").tag(config=True)
    account = Unicode(help="what the use is charged to").tag(config=True)
    purpose = Unicode(Runtime.Purpose.GRADING).tag(config=True)
    preload = List(Unicode()).tag(config=True)
    files = Dict().tag(config=True)
    env = Dict(help="variables of the kernel; this process's own stay outside").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stack: AsyncExitStack | None = None
        self._borrowed: Borrowed | None = None
        self._exit: int | None = None

    @property
    def borrowed(self) -> Borrowed:
        """The runtime. Raises RuntimeFailed before the start and after the end."""
        if self._borrowed is None:
            raise RuntimeFailed("", "there is no runtime")
        return self._borrowed

    @property
    def has_process(self) -> bool:
        return self._borrowed is not None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        # The base class would copy this process's environment: nothing of it may enter a runtime.
        return {**kwargs, "cmd": [], "env": {}}

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        if self._borrowed is None:
            profile = await Profile.objects.aget(slug=self.profile)
            self._stack = AsyncExitStack()
            self._borrowed = await self._stack.enter_async_context(
                borrow(
                    profile=profile,
                    account=self.account,
                    purpose=self.purpose,
                    files=self.files,
                    preload=self.preload,
                    env=self.env,
                )
            )
        elif self._exit is not None:
            await self._borrowed.start_kernel()
        self._exit = None
        info: Any = {**self._borrowed.connection, "key": self._borrowed.connection["key"].encode()}
        self.connection_info = info
        return self.connection_info

    async def poll(self) -> int | None:
        if self._borrowed is None or self._exit is not None:
            return self._exit or 0
        ending = await self._borrowed.exit_reason()
        return None if ending is None else 1

    async def wait(self) -> int | None:
        while (status := await self.poll()) is None:
            await asyncio.sleep(POLL_SECONDS)
        return status

    async def send_signal(self, signum: int) -> None:
        """0 asks only; an interrupt goes through the agent; whatever ends a process ends the kernel."""
        if signum == signal.SIGINT:
            await self.borrowed.interrupt()
        elif signum:
            await self.kill()

    async def kill(self, restart: bool = False) -> None:
        """Ends the kernel. The runtime stays until `cleanup`: only that is told whether another kernel follows."""
        self._exit = -signal.SIGKILL
        if self._borrowed is not None:
            with suppress(KernelRefused):
                await self._borrowed.stop_kernel()

    async def terminate(self, restart: bool = False) -> None:
        await self.kill(restart)

    async def cleanup(self, restart: bool = False) -> None:
        if not restart:
            await self._give_back()

    async def _give_back(self) -> None:
        stack, self._stack, self._borrowed = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    def get_stable_start_time(self, recommended: float = 10.0) -> float:
        return max(recommended, START_SECONDS)

    async def get_provisioner_info(self) -> dict[str, Any]:
        return await super().get_provisioner_info() | {"runtime": self.borrowed.runtime.name}
