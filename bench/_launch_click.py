"""A click on *Open* at the running site, over the site's own protocol, and the same cell at a stock jupyter_server.

Ours is what a signed-in student's browser asks for, in its order: *Open* by POST, the page with its ticket, the ticket
for a cookie, the notebook's page, document and session, then the cell is run and its output arrives in the document.
The front end's own files, which a browser keeps, and what it draws are not counted, and neither are the peer's.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import websockets
from jupyter_client.session import Session
from pycrdt import Doc, YMessageType, create_sync_message, handle_sync_message
from websockets.asyncio.client import ClientConnection

from bench._socket_peers import TOKEN, OverSocket, Stock, connect
from bench.storm import Student

NOTEBOOK = "ps1.ipynb"
CELL = "print('here')"
PATIENCE_SECONDS = 120
_TICKET = re.compile(r'name="ticket" value="([^"]+)"')
_ORIGIN = re.compile(r'action="(http://[^"]+)/enter"')


@dataclass
class Opened:
    """Seconds from the click to the first output, the output, and the workspace's slug (ours only)."""

    seconds: float
    text: str
    slug: str = ""


async def click(student: Student, address: str) -> Opened:
    """One student opens an assignment at `address`, and runs its first cell as soon as it is there."""
    begun = time.perf_counter()
    token = {"csrfmiddlewaretoken": student.client.cookies.get("csrf") or ""}
    opened = await student.client.post(address, data=token)
    if opened.status_code != 302:
        raise RuntimeError(f"{student.name} could not open {address}: {opened.status_code}")
    page = await student.client.get(opened.headers["location"])
    host = await enter(page.text, student.client.base_url)
    try:
        text = await host.run_first_cell()
        return Opened(time.perf_counter() - begun, text, host.slug)
    finally:
        await host.client.aclose()


async def enter(page: str, site: httpx.URL, path: str = NOTEBOOK) -> NotebookHost:
    """The notebook's host, as the frame of the student's page comes in: by the ticket, to the notebook at `path`."""
    ticket, origin = _TICKET.search(page), _ORIGIN.search(page)
    if ticket is None or origin is None:
        raise RuntimeError("the page has no ticket: it is not a notebook's")
    # The name of a workspace's host leads to the same port; nothing is asked of a name server.
    headers = {"host": httpx.URL(origin[1]).netloc.decode(), "origin": origin[1]}
    client = httpx.AsyncClient(base_url=site, headers=headers, timeout=PATIENCE_SECONDS)
    swapped = await client.post("/enter", data={"ticket": ticket[1], "next": path}, headers={"origin": "null"})
    if swapped.status_code != 303:
        raise RuntimeError(f"the ticket was refused: {swapped.status_code}")
    # The cookie is for https only, or for what a browser takes for as safe: this host.
    client.headers["cookie"] = swapped.headers["set-cookie"].split(";")[0]
    (await client.get(swapped.headers["location"])).raise_for_status()
    return NotebookHost(client, origin[1], path)


@dataclass
class NotebookHost:
    """A browser at a workspace's host, with its cookie."""

    client: httpx.AsyncClient
    origin: str
    path: str

    @property
    def slug(self) -> str:
        return httpx.URL(self.origin).host.partition(".")[0]

    async def run_first_cell(self) -> str:
        """Document and session are asked for at once, as the front end does; returns the cell's first output."""
        (room, socket), kernel = await asyncio.gather(self.document(), self._kernel())
        async with socket:
            page = Page(socket)
            cell = await page.first_cell()
            ran = await self.client.post(
                f"/api/kernels/{kernel}/execute", json={"cell_id": cell["id"], "document_id": room}
            )
            ran.raise_for_status()
            return await page.first_output()

    async def document(self) -> tuple[str, ClientConnection]:
        """The shared document's room, and a socket in it."""
        asked = {"format": "json", "type": "notebook"}
        answer = (
            (await self.client.put(f"/api/collaboration/session/{self.path}", json=asked)).raise_for_status().json()
        )
        room = f"json:notebook:{answer['fileId']}"
        url = f"{self.origin.replace('http', 'ws', 1)}/api/collaboration/room/{room}?sessionId={answer['sessionId']}"
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self.client.base_url.port, "origin": self.origin}
        cookie = {"cookie": self.client.headers["cookie"]}
        return room, await websockets.connect(url, additional_headers=cookie, max_size=None, **where)

    async def _kernel(self) -> str:
        asked = {"path": self.path, "name": self.path, "type": "notebook", "kernel": {"name": "python3"}}
        return str((await self.client.post("/api/sessions", json=asked)).raise_for_status().json()["kernel"]["id"])


@dataclass
class Page:
    """The shared document as a browser has it."""

    socket: ClientConnection
    doc: Doc[Any] = field(default_factory=Doc)
    cell: Any = None
    cells: Any = ()

    async def first_cell(self) -> Any:
        """The first cell, once the document is here."""
        from runtimes.jupyter import notebook_form

        self.cells = notebook_form.shared("notebook", self.doc).ycells
        await self.socket.send(create_sync_message(self.doc))
        while not len(self.cells):
            await self._take()
        self.cell = self.cells[0]
        return self.cell

    async def first_output(self) -> str:
        """The text of the first output of that cell."""
        while not len(self.cell["outputs"]):
            await self._take()
        return str(self.cell["outputs"][0]["text"])

    async def _take(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = await self.socket.recv(decode=False)
        if message[0] == YMessageType.SYNC and (reply := handle_sync_message(message[1:], self.doc)):
            await self.socket.send(reply)


# --- the peer


class StockServer:
    """A stock jupyter_server of one's own, with one notebook. `opened` is a click in it."""

    def __init__(self, folder: Path, notebook: bytes) -> None:
        self.stock = Stock(folder, no_delay=False)
        (folder / NOTEBOOK).write_bytes(notebook)
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.stock.port}", timeout=PATIENCE_SECONDS,
            headers={"Authorization": f"token {TOKEN}"},
        )  # fmt: skip

    async def answers(self) -> None:
        """Returns when it serves."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    (await self._client.get("/api/status")).raise_for_status()
                except httpx.TransportError:
                    await asyncio.sleep(0.01)
                else:
                    return

    async def opened(self, name: str) -> Opened:
        """The notebook is read, a session made, its kernel's socket opened, the cell run."""
        begun = time.perf_counter()
        notebook = (await self._client.get(f"/api/contents/{NOTEBOOK}")).raise_for_status().json()
        source = notebook["content"]["cells"][0]["source"]
        asked = {"path": f"{name}.ipynb", "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        session = (await self._client.post("/api/sessions", json=asked)).raise_for_status().json()
        client = Session()
        url = f"ws://127.0.0.1:{self.stock.port}/api/kernels/{session['kernel']['id']}/channels?token={TOKEN}&"
        peer = OverSocket(name, self.stock.process.pid, await connect(url, client.session))
        try:
            text = await _first_stream(peer, client, source)
            return Opened(time.perf_counter() - begun, text)
        finally:
            await peer.close()
            await self._client.delete(f"/api/sessions/{session['id']}")

    async def close(self) -> None:
        """Ends it, and what it started."""
        await self._client.aclose()
        self.stock.process.terminate()
        await asyncio.to_thread(self.stock.process.wait)


async def _first_stream(peer: OverSocket, client: Session, source: str) -> str:
    content = {"code": source, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True}
    message = client.msg("execute_request", {**content, "stop_on_error": True})
    await peer.send([client.pack(message[part]) for part in ("header", "parent_header", "metadata", "content")])
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            header, _parent, _metadata, told = await peer.receive()
            if b'"stream"' in header:
                return str(client.unpack(told)["text"])
