"""`kill -9` of the real site in the middle of a save: what was typed is there again, and the file follows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from pycrdt import create_update_message

from bench._launch_click import Page, enter
from runtimes import storage
from runtimes.jupyter import document
from runtimes.models import Document
from tests.classroom.work import PS1
from tests.grading.corpus import parse
from tests.grading.live_clicks import Student, student
from tests.grading.live_steps import rows_and_files
from tests.live import LiveSite

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.kill, pytest.mark.timeout(600)]

TYPED = "# typed just before the crash"


@pytest.fixture
def site(django_db_blocker) -> Iterator[LiveSite]:
    with LiveSite(django_db_blocker, DJANGO_SETTINGS_MODULE="tests.holding.settings") as made, rows_and_files(made):
        yield made


@pytest.fixture(autouse=True)
def _other_threads_let_go() -> None:
    """This test uses the running site's database, not the test's."""


def with_the_notebook_open(ada: Student, act: Any) -> Any:
    """What `act(page, cell)` returns, in a browser that has come in by a ticket; `cell` is where the answer stands."""

    async def opened() -> Any:
        host = await enter(ada.page(), httpx.URL(ada.url), PS1)
        _room, socket = await host.document()
        async with aclosing(host.client), socket:
            page = Page(socket)
            await page.first_cell()
            return await act(page, next(one for one in page.cells if one["id"] == "squares"))

    return asyncio.run(opened())


async def types(page: Page, cell: Any) -> None:
    before = page.doc.get_state()
    source = cell["source"]
    source += TYPED
    await page.socket.send(create_update_message(page.doc.get_update(before)))


async def reads(_page: Page, cell: Any) -> str:
    return str(cell["source"])


def in_the_file(ada: Student) -> str:
    row = storage.files(ada.work.workspace).get(path=PS1)
    return next(one.source for one in parse(storage.read(row.blob)).cells if one.id == "squares")


def test_what_was_typed_survives_a_site_that_is_killed_between_the_blob_and_the_row(site: LiveSite) -> None:
    ada = student(site)
    (site.folder / "hold").write_text(TYPED)

    async def types_and_waits(page: Page, cell: Any) -> None:
        await types(page, cell)
        await asyncio.to_thread(site.until, (site.folder / "held").exists, "the save is held")
        (site.folder / "hold").unlink()
        await asyncio.to_thread(site.kill, "site")

    with_the_notebook_open(ada, types_and_waits)
    # The save did not happen: neither the row of the file nor that of the document tells of it.
    assert TYPED not in in_the_file(ada)
    assert document.state(ada.work.workspace).dirty
    assert TYPED in with_the_notebook_open(ada, reads)
    # The page that looked is enough; nobody types again.
    site.until(lambda: not document.state(ada.work.workspace).dirty, "the document is saved")
    assert in_the_file(ada) == with_the_notebook_open(ada, reads)
    assert in_the_file(ada).count(TYPED) == 1
    assert Document.objects.count() == 1
    assert ada.press("after the crash") == 302
    [submission] = ada.submissions()
    assert TYPED in storage.read_snapshot(submission.snapshot)[PS1].decode()
    ada.close()
