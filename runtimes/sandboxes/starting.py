"""How a sandbox comes up: forked from a warm server, or by plain bubblewrap (the strict setting and fallback)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import socket
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from runtimes.agent.enclosure import SHARED_MEMORY_BYTES
from runtimes.endpoint import Endpoint
from runtimes.keys import connection_keys
from runtimes.provider import Isolation, Network, ProviderError, Request
from runtimes.sandboxes import bubblewrap, host, network, sandbox, seccomp, slots
from runtimes.sandboxes.cgroups import Cgroups, Group
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.environment import KernelEnvironment
from runtimes.sandboxes.fork_server import PROGRAM_PATH, ForkServer, ForkServerFailed
from runtimes.sandboxes.host import Features
from runtimes.sandboxes.network import Internet
from runtimes.sandboxes.sandbox import Sandbox, SandboxFailed
from runtimes.sandboxes.seats import Hold
from runtimes.sandboxes.servers import ForkServers
from runtimes.sandboxes.slots import Slot

log = logging.getLogger(__name__)
THREADS = 32


class ForkRefused(SandboxFailed):
    """The fork server cannot make namespaces inside its own: plain bubblewrap may."""


@dataclass(frozen=True, slots=True)
class _Plain:
    """A plain bubblewrap that waits to be put into its control groups."""

    process: subprocess.Popen[bytes]
    link: socket.socket
    info: int
    block: int


class Starter:
    """Makes sandboxes. `start` is called on the event loop; what blocks runs on threads."""

    def __init__(self, config: SandboxConfig, features: Features, cgroups: Cgroups) -> None:
        self._config = config
        self._features = features
        self._cgroups = cgroups
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sandbox")
        self._internet = not network.missing()
        self._unwanted: set[asyncio.Task[None]] = set()
        self.servers = ForkServers(config)

    async def start(self, request: Request, environment: KernelEnvironment, hold: Hold | None = None) -> Sandbox:
        """A sandbox whose agent (and first kernels) are ready. Raises SandboxFailed, NetworkFailed or OSError.

        hold: GPUs, given back when it is gone, or at once if it does not start. They make it strict: nodes can be put
        into a sandbox from outside only, the loader's path holds from a program's start on, and CUDA does not survive
        a fork."""
        if hold is not None:
            hold.begun = True
            return await self._strict(request, environment, hold)
        wanted = request.isolation or self._config.isolation
        if wanted is Isolation.FORKED:
            try:
                server = await self.servers.get(environment, request.preload)
                return await self._forked(request, server)
            except (ForkServerFailed, ForkRefused) as error:
                log.warning("falling back to a sandbox without a fork server: %s", error)
        return await self._strict(request, environment, None)

    async def start_job(self, request: Request, environment: KernelEnvironment) -> Sandbox:
        """A sandbox for one job, its kernel started, with its `ends`. Raises what `start` raises; there is no
        falling back, since only a forked sandbox can be had so."""
        server = await self.servers.get(environment, request.preload, lean=True)
        return await self._forked(request, server, job=True)

    async def run(self, work: Callable[[], None]) -> None:
        """Runs something that blocks, to its end even if the caller is cancelled."""
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, work))

    async def close(self) -> None:
        """Ends the fork servers and threads."""
        await asyncio.gather(*self._unwanted, return_exceptions=True)
        await self.servers.close()
        self._threads.shutdown(wait=False)

    async def _forked(self, request: Request, server: ForkServer, *, job: bool = False) -> Sandbox:
        gone = self.servers.use(server)
        made: Sandbox | None = None
        try:
            made = await self._in_thread(lambda: self._enter_forked(request, server, job=job))
        finally:
            if made is None:
                gone()
        made.on_close.append(gone)
        return made

    async def _strict(self, request: Request, environment: KernelEnvironment, hold: Hold | None) -> Sandbox:
        if hold is not None:
            request = replace(request, env={**request.env, **hold.environment})
        slot: Slot | None = None
        try:
            slot = slots.create(self._config, request.name)
            # bubblewrap's --die-with-parent follows the thread that starts it: here the event loop's.
            plain = self._launch(request, slot, environment, hold)
        except BaseException:
            if slot is not None:
                slot.remove()
            if hold is not None:
                hold.release()
            raise
        return await self._in_thread(lambda: self._enter_strict(request, slot, plain, hold))

    async def _in_thread(self, make: Callable[[], Sandbox]) -> Sandbox:
        """`make` runs to its end; a caller that was cancelled meanwhile leaves nothing behind."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, make)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            unwanted = asyncio.create_task(self._close_unwanted(future))
            self._unwanted.add(unwanted)
            unwanted.add_done_callback(self._unwanted.discard)
            raise

    async def _close_unwanted(self, future: asyncio.Future[Sandbox]) -> None:
        try:
            sandbox = await future
        except (ProviderError, OSError):
            return
        await self.run(sandbox.close)

    # --- on threads

    def _enter_forked(self, request: Request, server: ForkServer, *, job: bool) -> Sandbox:
        slot = slots.create(self._config, request.name)
        made: Sandbox | None = None
        try:
            group = self._group(slot, request)
            made = self._sandbox(slot, group, request, server.connect(), Isolation.FORKED)
            try:
                made.pid, made.pidfd = sandbox.hello(made.link)
            except SandboxFailed as error:
                raise ForkRefused(str(error)) from error
            group.join(made.pid)
            self._enter(made, request, job=job)
        except BaseException:
            if made is None:
                slot.remove()
            else:
                made.close()
            raise
        return made

    def _enter_strict(self, request: Request, slot: Slot, plain: _Plain, hold: Hold | None) -> Sandbox:
        made: Sandbox | None = None
        try:
            group = self._group(slot, request)
            made = self._sandbox(slot, group, request, plain.link, Isolation.STRICT)
            if hold is not None:
                made.on_close.append(hold.release)
                made.isolation += ("gpu-shared" if hold.shared else "gpu-own",)
            made.process = plain.process
            made.pid = _child_pid(plain)
            made.pidfd = os.pidfd_open(made.pid)
            for pid in (plain.process.pid, made.pid):
                group.join(pid)
            if request.network is Network.INTERNET:
                network.refuse(made.pid)
            os.write(plain.block, b"1")
            made.link.settimeout(sandbox.START_SECONDS)
            self._enter(made, request)
        except BaseException:
            if made is not None:
                made.close()
            else:
                plain.process.kill()
                plain.process.wait()
                plain.link.close()
                slot.remove()
                if hold is not None:
                    hold.release()
            raise
        finally:
            os.close(plain.info)
            os.close(plain.block)
        return made

    def _enter(self, made: Sandbox, request: Request, *, job: bool = False) -> None:
        keys = connection_keys(self._config.master_key, self._config.key_version, made.slot.identity)
        attach = request.network is Network.INTERNET

        def internet() -> Internet | None:
            return network.attach(made.pid) if attach else None

        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _end in range(2 if job else 0)]
        made.ends = tuple(near for near, _far in pairs)
        order = sandbox.order(request, made.slot, keys, made.group, job=job)
        try:
            made.internet = sandbox.enter(made.link, order, made.group, internet, [far for _near, far in pairs])
        finally:
            for _near, far in pairs:
                far.close()
        made.link.setblocking(False)

    def _group(self, slot: Slot, request: Request) -> Group:
        group = self._cgroups.create(slot.folder.name, request.limits)
        slot.groups = group.paths
        slot.save()
        return group

    def _sandbox(
        self, slot: Slot, group: Group, request: Request, link: socket.socket, isolation: Isolation
    ) -> Sandbox:
        endpoint = Endpoint("ipc", str(slot.folder), slot.identity, self._config.key_version)
        codes = sandbox.isolation_codes(group, isolation, request.network, program=self._internet)
        return Sandbox(slot=slot, group=group, endpoint=endpoint, link=link, isolation=codes)

    def _launch(self, request: Request, slot: Slot, environment: KernelEnvironment, hold: Hold | None) -> _Plain:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        info_read, info_write = os.pipe2(os.O_CLOEXEC)
        block_read, block_write = os.pipe2(os.O_CLOEXEC)
        with theirs, tempfile.TemporaryFile() as program:
            program.write(seccomp.program())
            program.seek(0)
            command = bubblewrap.program(
                self._config.system,
                slot.folder,
                environment,
                owner=theirs.fileno(),
                filter_fd=program.fileno(),
                info_fd=info_write,
                block_fd=block_read,
                features=self._features,
                home_bytes=request.limits.home_bytes,
                tmp_bytes=request.limits.tmp_bytes,
                shared_bytes=_shared_bytes(request, hold),
                hold=hold,
            )
            inherited = [theirs.fileno(), program.fileno(), info_write, block_read]
            try:
                with (self._config.run_dir / "fork-server.log").open("ab") as errors:
                    process = subprocess.Popen(
                        command,
                        pass_fds=inherited,
                        stdin=subprocess.DEVNULL,
                        stdout=errors,
                        stderr=errors,
                        cwd="/",
                        env=PROGRAM_PATH,
                        **host.identity(self._config.uid),
                    )
            except BaseException:
                ours.close()
                for descriptor in (info_read, block_write):
                    os.close(descriptor)
                raise
            finally:
                os.close(info_write)
                os.close(block_read)
        return _Plain(process, ours, info_read, block_write)


def _shared_bytes(request: Request, hold: Hold | None) -> int:
    """What loads data for a GPU in processes of its own passes it on in shared memory, which counts as its memory."""
    return max(SHARED_MEMORY_BYTES, request.limits.memory_bytes // 2 if hold is not None else 0)


def _child_pid(plain: _Plain) -> int:
    """The sandbox's pid 1 as bubblewrap tells it. Raises SandboxFailed."""
    told = b""
    while select.select([plain.info], [], [], sandbox.START_SECONDS)[0]:
        part = os.read(plain.info, 65536)
        told += part
        with suppress(ValueError):
            return int(json.loads(told)["child-pid"])
        if not part:
            break
    raise SandboxFailed("bubblewrap did not start: see fork-server.log")
