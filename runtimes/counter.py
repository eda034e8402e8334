"""Where processes of this host borrow runtimes for jobs: a Unix socket of the `runtimes` process.

One connection is one job. The borrower says what it needs; it gets the runtime's two sockets; when it closes the
connection, or dies, the runtime ends. No row is asked for, waited for or moved: what was used is written afterwards, a
few seconds' worth at once. Rows stay the way for whatever must outlive the process that asked.

`runtimes/job.py` is the other side.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from runtimes import rows, usage
from runtimes.provider import (
    Isolation,
    Limits,
    Loan,
    Machine,
    Network,
    NotOffered,
    Provider,
    ProviderError,
    Reason,
    Request,
)

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 1 << 17
WRITE_SECONDS = 2.0


def address() -> Path:
    """The socket. Nobody listens where the provider's runtimes are on other machines."""
    return Path(settings.RUN_DIR) / "jobs"


def order_of(request: Request, *, profile: int, account: str) -> bytes:
    """What a borrower says."""
    spans = {"lifetime": request.limits.lifetime.total_seconds(), "idle": request.limits.idle.total_seconds()}
    limits = {**asdict(request.limits), **spans}
    wanted = {**asdict(request), "limits": limits, "machine": request.machine.to_json()}
    return json.dumps({"request": wanted, "profile": profile, "account": account}).encode()


def request_of(order: dict[str, Any]) -> Request:
    """What a borrower wants, out of what it said. Raises KeyError, TypeError or ValueError."""
    wanted = dict(order["request"])
    limits = dict(wanted.pop("limits"))
    return Request(
        **{
            **wanted,
            "limits": Limits(**{**limits, **{key: timedelta(seconds=limits[key]) for key in ("lifetime", "idle")}}),
            "preload": tuple(wanted["preload"]),
            "network": Network(wanted["network"]),
            "isolation": None if wanted["isolation"] is None else Isolation(wanted["isolation"]),
            "machine": Machine.from_json(wanted["machine"]),
        }
    )


class Counter:
    """Serves borrowers as long as `run` runs."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._served: set[asyncio.Task[None]] = set()
        self._used: list[usage.Used] = []

    async def run(self) -> None:
        """Until it is cancelled; then every runtime that is lent ends."""
        path = address()
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(128)
            writing = asyncio.create_task(self._write_used())
            try:
                await self._accept(listener)
            finally:
                path.unlink(missing_ok=True)
                writing.cancel()
                for task in self._served:
                    task.cancel()
                await asyncio.gather(*self._served, writing, return_exceptions=True)
                await self._flush()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _address = await loop.sock_accept(listener)
            task = asyncio.create_task(self._serve(connection))
            self._served.add(task)
            task.add_done_callback(self._served.discard)

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                await self._lend(connection)
            except (OSError, KeyError, TypeError, ValueError) as error:
                logger.warning("a borrower was not served: %r", error)

    async def _lend(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        order = json.loads(await loop.sock_recv(connection, MAX_MESSAGE_BYTES))
        request = request_of(order)
        # A borrower that gives up while it waits must not be given a place.
        gone = asyncio.ensure_future(loop.sock_recv(connection, 1))
        lending = asyncio.ensure_future(self._provider.lend(request))
        first: set[asyncio.Future[Any]] = {gone, lending}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if lending.done():
                await self._hand_over(connection, order, lending.result(), gone)
        except ProviderError as error:
            _say(connection, {"error": str(error)[:1000], "offered": not isinstance(error, NotOffered)})
        finally:
            await _undo(lending)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def _hand_over(
        self, connection: socket.socket, order: dict[str, Any], loan: Loan, gone: asyncio.Future[bytes]
    ) -> None:
        began = timezone.now()
        first: set[asyncio.Future[Any]] = {gone, loan.ended}
        try:
            ends = loan.sockets()
            socket.send_fds(
                connection,
                [json.dumps({"environment": loan.environment}).encode()],
                [end.fileno() for end in ends],
            )
            for end in ends:
                end.close()
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if loan.ended.done():
                _say(connection, {"ended": loan.ended.result()})
        finally:
            who = order["profile"], order["account"], loan.environment
            self._used.append(usage.Used(*who, began, timezone.now(), loan.cpu_seconds()))

    async def _write_used(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        used, self._used = self._used, []
        if used:
            await record(used, self._provider.slug)


record = rows.in_thread(usage.record_jobs)


async def _undo(lending: asyncio.Future[Loan]) -> None:
    """Whatever was lent, or is about to be, ends; nobody waits for that who has something to do."""
    if not lending.done():
        lending.cancel()
        await asyncio.gather(lending, return_exceptions=True)
    if not lending.cancelled() and lending.exception() is None:
        await asyncio.shield(lending.result().close())


def _say(connection: socket.socket, message: dict[str, Any]) -> None:
    with suppress(OSError):
        connection.send(json.dumps(message).encode())


def reason_of(message: dict[str, Any]) -> Reason:
    """Why a job's runtime ended, out of what the counter said last."""
    try:
        return Reason(message["ended"])
    except (KeyError, ValueError):
        return Reason.OWNER_GONE
