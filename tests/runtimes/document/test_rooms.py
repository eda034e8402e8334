"""Sockets of a document, as the front end's document provider speaks to them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from pycrdt import (
    Awareness,
    Decoder,
    Doc,
    Encoder,
    YMessageType,
    YSyncMessageType,
    create_awareness_message,
    create_sync_message,
    create_update_message,
    handle_sync_message,
    read_message,
)
from starlette.applications import Starlette
from starlette.websockets import WebSocketDisconnect

from runtimes import storage
from runtimes.jupyter import collaboration, document, notebook_form
from runtimes.jupyter.entry import Entry, Place
from runtimes.jupyter.open_documents import open_documents
from runtimes.models import Document, Workspace
from tests.runtimes.document.conftest import PATH, make_notebook

with warnings.catch_warnings(action="ignore"):
    # It wishes for a successor of httpx; either serves a socket the same.
    from starlette.testclient import TestClient, WebSocketTestSession


class Door:
    """Stands for the gate: lets everybody in, as whom they say in a header."""

    def __init__(self, workspace: Workspace) -> None:
        self._place = Place(workspace.pk, workspace.slug, read_only=False)
        self._app = Starlette(routes=collaboration.routes())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            headers = dict(scope["headers"])
            mode = headers.get(b"x-mode", b"write").decode()
            entry = Entry(self._place, "ada", "Ada", mode, "en", "auto")  # type: ignore[arg-type]
            scope["state"] = {"entry": entry, "place": self._place}
        await self._app(scope, receive, send)


@pytest.fixture
def site(workspace: Workspace) -> Iterator[TestClient]:
    """One event loop for all of a test's sockets."""
    with TestClient(Door(workspace)) as client:
        yield client
        assert client.portal
        client.portal.call(_close)


async def _close() -> None:
    await open_documents().close()


class Page:
    """A browser with the notebook open."""

    def __init__(self, socket: WebSocketTestSession) -> None:
        self.socket = socket
        self.doc: Doc[Any] = Doc()
        self.view = notebook_form.shared("notebook", self.doc)
        self.awareness = Awareness(self.doc)
        self.answers: list[dict[str, Any]] = []
        socket.send_bytes(create_sync_message(self.doc))

    def take(self) -> None:
        """One message from the server."""
        message = self.socket.receive_bytes()
        if message[0] == YMessageType.SYNC:
            reply = handle_sync_message(message[1:], self.doc)
            if reply:
                self.socket.send_bytes(reply)
        elif message[0] == YMessageType.AWARENESS:
            self.awareness.apply_awareness_update(read_message(message[1:]), "server")
        else:
            decoder = Decoder(message)
            decoder.read_var_uint()
            self.answers.append(json.loads(decoder.read_var_string()))

    def until(self, check) -> Any:
        while not (found := check()):
            self.take()
        return found

    def type(self, text: str) -> None:
        before = self.doc.get_state()
        source = self.view.ycells[0]["source"]
        source += text
        self.socket.send_bytes(create_update_message(self.doc.get_update(before)))

    @property
    def source(self) -> str:
        return str(self.view.ycells[0]["source"]) if len(self.view.ycells) else ""

    def show(self, name: str) -> None:
        self.awareness.set_local_state({"user": {"name": name}})
        update = self.awareness.encode_awareness_update([self.awareness.client_id])
        self.socket.send_bytes(create_awareness_message(update))

    def names(self) -> set[str]:
        return {state["user"]["name"] for state in self.awareness.states.values() if state.get("user")}

    def save(self, number: int) -> dict[str, Any]:
        encoder = Encoder()
        encoder.write_var_uint(2)
        encoder.write_var_string("save")
        encoder.write_var_uint(number)
        self.socket.send_bytes(encoder.to_bytes())
        return self.until(lambda: next((one for one in self.answers if one["responseTo"] == number), None))


@contextmanager
def page(site: TestClient, row: Document, mode: str = "write") -> Iterator[Page]:
    room = f"json:notebook:{row.pk}"
    address = f"/api/collaboration/room/{room}?sessionId=x"
    # The test client cancels an endpoint that is still cleaning up after it was told that the page is closed.
    with suppress(CancelledError), site.websocket_connect(address, headers={"x-mode": mode}) as socket:
        opened = Page(socket)
        opened.until(lambda: opened.source)
        yield opened


def test_a_session_names_the_file_and_stays_the_same(site, workspace):
    storage.write(workspace, PATH, make_notebook("1"), source="uploaded")
    ask = {"format": "json", "type": "notebook"}
    first = site.put(f"/api/collaboration/session/{PATH}", json=ask)
    again = site.put(f"/api/collaboration/session/{PATH}", json=ask)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["fileId"] == str(Document.objects.get().pk)


def test_two_pages_see_what_the_other_types(site, notebook):
    with page(site, notebook) as ada, page(site, notebook) as tess:
        ada.type(" # ada")
        tess.until(lambda: "# ada" in tess.source)
        tess.type(" # tess")
        ada.until(lambda: "# tess" in ada.source)
        assert ada.source == tess.source


def test_a_reader_sees_everything_and_changes_nothing(site, notebook, workspace):
    with page(site, notebook) as ada, page(site, notebook, "read") as reader:
        reader.type(" # vandal")
        assert reader.save(7)["status"] == "success"
        ada.type(" # ada")
        reader.until(lambda: "# ada" in reader.source)
        assert ada.save(1)["status"] == "success"
        assert "vandal" not in ada.source
    assert b"vandal" not in document.current_sync(workspace, PATH)
    with page(site, notebook) as later:
        assert "vandal" not in later.source


def test_a_page_that_was_offline_brings_what_was_typed_there(site, notebook):
    with page(site, notebook) as ada:
        pass
    source = ada.view.ycells[0]["source"]
    source += " # offline"
    with page(site, notebook) as tess, page(site, notebook) as back:
        back.socket.send_bytes(bytes([YMessageType.SYNC, YSyncMessageType.SYNC_STEP2]) + _message(ada.doc.get_update()))
        tess.until(lambda: "# offline" in tess.source)


def _message(data: bytes) -> bytes:
    encoder = Encoder()
    encoder.write_var_uint(len(data))
    return encoder.to_bytes() + data


def test_saving_on_demand_is_answered_once_the_file_has_it(site, notebook, workspace):
    with page(site, notebook) as ada:
        ada.type(" # now")
        assert ada.save(3) == {"type": "save", "responseTo": 3, "status": "success"}
        assert b"# now" in storage.read(storage.files(workspace).get(path=PATH).blob)


def test_people_see_who_is_there_and_that_they_left(site, notebook):
    with page(site, notebook) as ada:
        ada.show("Ada")
        ada.until(lambda: ada.names() == {"Ada"})
        with page(site, notebook) as tess:
            tess.until(lambda: tess.names() == {"Ada"})
            tess.show("Tess")
            ada.until(lambda: ada.names() == {"Ada", "Tess"})
        ada.until(lambda: ada.names() == {"Ada"})


def test_who_is_there_at_all_is_shared_without_a_document(site):
    path = "/api/collaboration/room/JupyterLab:globalAwareness"
    with site.websocket_connect(path) as socket:
        ada = Page(socket)
        ada.show("Ada")
        ada.until(lambda: ada.names() == {"Ada"})
        with site.websocket_connect(path) as other:
            tess = Page(other)
            tess.until(lambda: tess.names() == {"Ada"})


@pytest.mark.parametrize("room", ["json:notebook:{stranger}", "json:notebook:x", "text:file:{own}", "nonsense", "a:b"])
def test_a_room_that_is_not_of_this_workspace_is_not_found(site, notebook, room, profile):
    elsewhere = Workspace.objects.create(profile=profile, account="other")
    storage.write(elsewhere, PATH, make_notebook("secret"), source="uploaded")
    stranger, _made = document.opened(elsewhere.pk, PATH, "json", "notebook")
    name = room.format(stranger=stranger.pk, own=notebook.pk)
    with site.websocket_connect(f"/api/collaboration/room/{name}") as socket, pytest.raises(WebSocketDisconnect) as end:
        socket.receive_bytes()
    assert end.value.code == 4404


@pytest.mark.parametrize(
    "message",
    [
        b"\x00",
        b"\x00\x02\x05xx",
        b"\x00\x02\x03\xff\xff\xff",
        b"\x01\x05",
        b"\x01\x02\x05\x01",
        b"\x02\xff",
        b"\x00\x07\x01a",
    ],
)
def test_a_malformed_message_ends_its_socket_and_no_other(site, notebook, message):
    with page(site, notebook) as ada:
        with page(site, notebook) as broken:
            broken.socket.send_bytes(message)
            with pytest.raises(WebSocketDisconnect) as end:
                broken.until(lambda: False)
            assert end.value.code == 4400
        ada.type(" # still")
        with page(site, notebook) as later:
            assert later.source.endswith("# still")


def test_pages_of_a_removed_file_are_closed(site, notebook, workspace):
    with page(site, notebook) as ada:
        storage.remove(workspace, PATH)
        with pytest.raises(WebSocketDisconnect) as end:
            ada.until(lambda: False)
        assert end.value.code == 4404
