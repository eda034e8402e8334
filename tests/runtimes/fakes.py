"""A provider without sandboxes, with an agent that really speaks the agent's protocol, for tests of what is above."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

import zmq
import zmq.asyncio

from runtimes import keyring
from runtimes.agent import wire
from runtimes.agent.archive import pack_files, unpack_files
from runtimes.image_trial import ImageTrial
from runtimes.provider import (
    Endpoint,
    NotReady,
    Owned,
    Phase,
    Provider,
    ProviderUnavailable,
    Reason,
    Request,
    Status,
    UnknownRuntime,
)
from runtimes.reconcile import Reconciler


class FakeAgent:
    """Kernels and files as dictionaries, behind the real protocol."""

    def __init__(self, endpoint: Endpoint) -> None:
        keys = keyring.keys_of(endpoint)
        self._key = keys.hmac_key.encode()
        self.kernels: dict[int, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.executable: set[str] = set()
        self.known: dict[str, bytes] = {}
        self.told: dict[str, bytes] = {}
        self.left: set[str] = set()
        self.skipped: dict[str, str] = {}
        self.asked: list[str] = []
        self.folders: dict[int, str] = {}
        # How much one pull carries; what happens, once, while an answer is on its way, by verb.
        self.most_files = 1000
        self.during: dict[str, Callable[[], Awaitable[None]]] = {}
        self.idle_seconds = 0.0
        self.cpu_seconds: float | None = None
        self.preload_failed = ""
        self.watchers: list[bytes] = []
        self._socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.curve_server = True
        self._socket.curve_secretkey = keys.curve_secret.encode()
        self._socket.curve_publickey = keys.curve_public.encode()
        self._socket.bind(endpoint.agent_url)
        self._task = asyncio.create_task(self._serve())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._socket.close()

    async def _serve(self) -> None:
        while True:
            sender, *frames = await self._socket.recv_multipart()
            header, payload = wire.unpack(self._key, frames)
            self.asked.append(header["verb"])
            try:
                answer, body = getattr(self, "on_" + header["verb"])(header, payload, sender)
            except OSError as error:
                await self._send(sender, {"id": header["id"], "ok": False, "code": "error", "message": str(error)})
                continue
            reply = self._answer(sender, {"id": header["id"], "ok": True, **answer}, body, header["verb"])
            if header["verb"] in self.during:
                # Others go on asking meanwhile.
                self._late = asyncio.create_task(reply)
            else:
                await reply

    async def _answer(self, sender: bytes, header: dict[str, Any], body: bytes, verb: str) -> None:
        if during := self.during.pop(verb, None):
            await during()
        await self._send(sender, header, body)

    async def _send(self, to: bytes, header: dict[str, Any], body: bytes = b"") -> None:
        await self._socket.send_multipart([to, *wire.pack(self._key, header, body)])

    async def tell(self, index: int) -> None:
        for watcher in self.watchers:
            await self._send(watcher, {"event": "kernel", "kernel": self.kernels[index]})

    async def tell_of_its_end(self) -> None:
        for watcher in self.watchers:
            await self._send(watcher, {"event": "ending"})

    async def die(self, index: int, reason: str, status: int) -> None:
        self.kernels[index] |= {"state": "dead", "exit_reason": reason, "exit_status": status}
        await self.tell(index)

    def _kernel(self, index: int) -> dict[str, Any]:
        fresh = {"index": index, "state": "idle", "restarts": 0, "exit_status": None, "exit_reason": None}
        return self.kernels.setdefault(index, fresh | {"idle_seconds": 0.0})

    def on_status(self, *_question: Any) -> tuple[dict[str, Any], bytes]:
        return {
            "kernels": list(self.kernels.values()), "memory_bytes": 1, "memory_limit_bytes": 2, "oom_kills": 0,
            "cpu_seconds": self.cpu_seconds,
            "home_used_bytes": 1, "home_total_bytes": 2, "idle_seconds": self.idle_seconds, "uptime_seconds": 1,
            "ending": False, "preload_failed": self.preload_failed,
        }, b""  # fmt: skip

    def on_start_kernel(self, header: dict[str, Any], *_rest: Any) -> tuple[dict[str, Any], bytes]:
        return {"kernel": self._kernel(header["index"])}, b""

    def on_interrupt(self, header: dict[str, Any], *_rest: Any) -> tuple[dict[str, Any], bytes]:
        return {"kernel": self._kernel(header["index"])}, b""

    def on_restart_kernel(self, header: dict[str, Any], *_rest: Any) -> tuple[dict[str, Any], bytes]:
        kernel = self._kernel(header["index"])
        self.folders[header["index"]] = header["cwd"]
        kernel |= {"state": "idle", "restarts": kernel["restarts"] + 1, "exit_status": None, "exit_reason": None}
        return {"kernel": kernel}, b""

    def on_stop_kernel(self, header: dict[str, Any], *_rest: Any) -> tuple[dict[str, Any], bytes]:
        self.kernels.pop(header["index"], None)
        return {}, b""

    def on_push(self, _header: Any, payload: bytes, _sender: bytes) -> tuple[dict[str, Any], bytes]:
        files = unpack_files(payload)
        self.files |= files
        self.executable = self.executable - files.keys() | files.executable
        self.known |= files
        return {}, b""

    def on_remove(self, header: dict[str, Any], *_rest: Any) -> tuple[dict[str, Any], bytes]:
        for path in header["paths"]:
            for one in [one for one in self.files if one == path or one.startswith(path + "/")]:
                if not header["only_known"] or self.known.get(one) == self.files[one]:
                    del self.files[one]
                self.known.pop(one, None)
                self.told.pop(one, None)
        return {}, b""

    def on_rename(self, header: dict[str, Any], *_rest: Any) -> tuple[dict[str, Any], bytes]:
        old, new = header["old"], header["new"]
        moved = [one for one in self.files if one == old or one.startswith(old + "/")]
        if not moved or any(one == new or one.startswith(new + "/") for one in self.files):
            raise FileNotFoundError(old)
        for one in moved:
            for files in (self.files, self.known):
                if one in files:
                    files[new + one[len(old) :]] = files.pop(one)
        return {}, b""

    def on_pull(self, header: dict[str, Any], *_rest: Any) -> tuple[dict[str, Any], bytes]:
        self.left = set() if header["again"] else self.left
        changed = [one for one in self.files if self.known.get(one) != self.files[one] and one not in self.left]
        room = header["room"]
        new = [] if room is None else [one for one in changed if one not in self.known]
        too_much = {one for one in new if len(self.files[one]) > room}
        changed = [one for one in changed if one not in too_much]
        told = {path: self.files[path] for path in changed[: self.most_files]}
        deleted = [path for path in self.known if path not in self.files]
        self.told = {path: data for path, data in self.known.items() if path in self.files} | told
        more = len(changed) > len(told)
        skipped = {**self.skipped, **dict.fromkeys(sorted(too_much), "no-room")}
        return {"deleted": deleted, "skipped": skipped, "token": "t", "more": more}, pack_files(told, self.executable)

    def on_acknowledge(self, header: dict[str, Any], *_rest: Any) -> tuple[dict[str, Any], bytes]:
        self.left |= set(header["without"])
        for path in header["without"]:
            self.told.pop(path, None)
        self.known = self.told
        return {}, b""

    def on_dismiss(self, *_question: Any) -> tuple[dict[str, Any], bytes]:
        return {}, b""

    def on_watch(self, _header: Any, _payload: bytes, sender: bytes) -> tuple[dict[str, Any], bytes]:
        self.watchers.append(sender)
        return {}, b""


class FakeProvider(Provider):
    """`hold` keeps new runtimes starting until `let_go`; `errors` are raised by the next calls of `acquire`. Of `gpus`
    each runtime that wants some gets one; the last come is served first, as a scheduler that knows no rows may do."""

    slug: ClassVar[str] = "fake"

    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}
        self.statuses: dict[str, Status] = {}
        self.agents: dict[str, FakeAgent] = {}
        self.order: list[str] = []
        self.released: list[tuple[str, Reason]] = []
        # What the next releases raise, and which never come to their end, by name.
        self.release_errors: dict[str, Exception] = {}
        self.unending: set[str] = set()
        self.warm: list[tuple[Request, int]] = []
        self.ready: dict[str, int] = {}
        self.lacks: dict[str, str] = {}
        self.errors: list[Exception] = []
        # How many of the next releases are not heard, whichever they are of.
        self.deaf = 0
        self.during: dict[str, Callable[[], Awaitable[None]]] = {}
        self.refusals: dict[str, str] = {}
        # What comes of images, and until when none is known, by slug.
        self.images: dict[str, ImageTrial | ProviderUnavailable] = {}
        self.fetched: dict[str, asyncio.Event] = {}
        self.images_tried: list[str] = []
        self.refusal_error: Exception | None = None
        # Processor time as this provider counts it.
        self.counted: dict[str, float] = {}
        self.shares: dict[str, float | None] = {}
        self.throttles = True
        self.throttle_errors: list[Exception] = []
        self.hold = False
        self.gpus: int | None = None
        # When it ends what it makes, where it knows that.
        self.deadline: datetime | None = None
        self.closed = False
        self._folder = tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp")
        self._listeners: list[asyncio.Queue[tuple[str, Status]]] = []

    @classmethod
    def from_settings(cls) -> Self:
        return cls()

    async def start(self) -> None:
        self.closed = False

    async def acquire(self, request: Request) -> Status:
        request.validate()
        if self.errors:
            raise self.errors.pop(0)
        if request.name not in self.statuses:
            self.order.append(request.name)
            self.requests[request.name] = request
            self.say(request.name, Status(Phase.STARTING))
            if request.gpu and self.gpus is not None and len(self._with_gpu()) >= self.gpus:
                self.say(request.name, Status(Phase.QUEUED, Reason.ACCELERATOR_WAIT, "0/1 nodes are available"))
            elif not self.hold:
                self.let_go(request.name)
        return self.statuses[request.name]

    def _with_gpu(self) -> list[str]:
        return [name for name in self.agents if self.requests[name].gpu]

    def let_go(self, name: str) -> None:
        agent = FakeAgent(self._endpoint(name))
        for index in range(self.requests[name].kernels):
            agent._kernel(index)
        agent.during = self.during
        self.agents[name] = agent
        self.say(name, Status(Phase.READY, deadline=self.deadline, isolation=("forked", "network-none")))

    def say(self, name: str, status: Status) -> None:
        self.statuses[name] = status
        for queue in self._listeners:
            queue.put_nowait((name, status))

    def _endpoint(self, name: str) -> Endpoint:
        folder = Path(self._folder.name, name)
        folder.mkdir(exist_ok=True)
        return Endpoint("ipc", str(folder), name)

    async def status(self, name: str) -> Status:
        if name not in self.statuses:
            raise UnknownRuntime(name)
        return self.statuses[name]

    async def events(self) -> AsyncIterator[tuple[str, Status]]:
        queue: asyncio.Queue[tuple[str, Status]] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    async def endpoint(self, name: str) -> Endpoint:
        if (await self.status(name)).phase is not Phase.READY:
            raise NotReady(name)
        return self._endpoint(name)

    async def release(self, name: str, *, reason: Reason = Reason.REQUESTED, grace: timedelta = timedelta(0)) -> None:
        if self.deaf:
            self.deaf -= 1
            raise ProviderUnavailable("the API does not answer")
        if name in self.release_errors:
            raise self.release_errors.pop(name)
        if name in self.unending:
            await asyncio.Event().wait()
        if self.statuses.pop(name, None) is not None:
            self.released.append((name, reason))
        agent = self.agents.pop(name, None)
        if agent is not None:
            await agent.close()
            waiting = [one for one, status in self.statuses.items() if status.reason is Reason.ACCELERATOR_WAIT]
            if self.requests[name].gpu and waiting:
                self.let_go(waiting[-1])

    async def refusal(self, request: Request) -> str:
        if self.refusal_error:
            raise self.refusal_error
        return self.refusals.get(request.machine.slug, "")

    async def try_image(self, request: Request) -> ImageTrial:
        slug = request.machine.slug
        self.images_tried.append(slug)
        if slug in self.fetched:
            await self.fetched[slug].wait()
        outcome = self.images.get(slug, ImageTrial())
        if isinstance(outcome, ProviderUnavailable):
            raise outcome
        return outcome

    async def cpu_seconds(self, name: str) -> float | None:
        return self.counted.get(name)

    async def throttle(self, name: str, share: float | None) -> bool:
        if self.throttle_errors:
            raise self.throttle_errors.pop(0)
        self.shares[name] = share
        return self.throttles or share is None

    async def owned(self) -> list[Owned]:
        return [Owned(name, name, status) for name, status in self.statuses.items()]

    async def keep_warm(self, templates: Sequence[tuple[Request, int]]) -> Mapping[str, int]:
        self.warm = list(templates)
        return self.ready

    async def warm_lacks(self) -> Mapping[str, str]:
        return self.lacks

    async def environments(self) -> list[str]:
        return ["digest-1"]

    async def environment_of(self, request: Request) -> str:
        return request.environment or "digest-1"

    async def close(self) -> None:
        for name in [] if self.outlives else list(self.statuses):
            await self.release(name)
        self.closed = True

    def clean_up(self) -> None:
        self._folder.cleanup()


@asynccontextmanager
async def running(provider: Provider) -> AsyncIterator[Reconciler]:
    """The process's reconciler, ended in good order."""
    reconciler = Reconciler(provider)
    task = asyncio.create_task(reconciler.run())
    await reconciler.started.wait()
    try:
        yield reconciler
    finally:
        reconciler.leave()
        await task
