"""One document, many processes."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection

from runtimes import storage
from runtimes.jupyter import document, document_store, notebook_form
from runtimes.jupyter.document_log import DocumentGone, RedisLog, TableLog, document_log
from runtimes.jupyter.open_documents import open_documents
from runtimes.models import Document, DocumentUpdate
from tests.runtimes.document.conftest import PATH, edit, make_notebook, saved, sources, until

NOW = timedelta()


async def test_what_is_typed_in_one_process_appears_in_another(notebook, replicas, start_process):
    here, other = await replicas(notebook), await start_process(notebook)
    edit(here, "c0", "  # here")
    await until(lambda: _has(other, "x = 1  # here"))
    await other.ask("edit", cell="c1", text="  # there")
    await until(lambda: sources(here)[1] == "x  # there")


async def _has(other, text: str) -> bool:
    return text in await other.ask("sources")


async def test_two_people_who_type_in_one_cell_at_once_end_up_with_the_same_text(notebook, replicas, start_process):
    here, other = await replicas(notebook), await start_process(notebook)

    async def type_here():
        for _ in range(60):
            edit(here, "c0", "a")
            await asyncio.sleep(0.002)

    async def type_there():
        for _ in range(60):
            await other.ask("edit", cell="c0", text="b")

    await asyncio.gather(type_here(), type_there())
    text = await until(lambda: (text := sources(here)[0]).count("a") == text.count("b") == 60 and text)
    await until(lambda: _has(other, text))


@pytest.mark.kill
async def test_a_killed_process_loses_nothing_that_it_acknowledged(notebook, workspace, replicas, start_process):
    other = await start_process(notebook)
    await other.ask("edit_and_settle", cell="c0", text="  # kept")
    await other.kill()
    assert sources(await replicas(notebook))[0] == "x = 1  # kept"
    assert (await document.astate(workspace)).dirty
    await document.flush(workspace)
    assert (await sync_to_async(saved)(workspace))["cells"][0]["source"] == "x = 1  # kept"


async def test_a_process_that_slept_through_a_compaction_catches_up(notebook, replicas):
    sleeper, writer = await replicas(notebook), await replicas(notebook)
    for task in sleeper._tasks:
        task.cancel()
    for n in range(5):
        edit(writer, "c0", str(n))
        await writer.settle()
    assert await sync_to_async(document_store.compact)(notebook.pk, settled=NOW, at_least=1)
    assert not await sync_to_async(document_log().read)(notebook.pk)
    sleeper._looked_at = 0.0
    await sleeper.catch_up()
    assert sources(sleeper) == sources(writer) == ["x = 101234", "x"]


async def test_a_document_is_begun_once_however_many_open_it_at_once(workspace):
    await sync_to_async(storage.write)(workspace, PATH, make_notebook("a", "b"), source="uploaded")
    together, problems, ids = threading.Barrier(6), [], set()

    def open_it():
        try:
            together.wait()
            ids.add(document.opened(workspace.pk, PATH, "json", "notebook")[0].pk)
        except Exception as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    await asyncio.to_thread(lambda: ([t.start() for t in threads], [t.join() for t in threads]))
    assert not problems
    [document_id] = ids
    async with open_documents().hold(document_id) as opened:
        assert sources(opened.replica) == ["a", "b"]
    await open_documents().close()


async def test_compaction_under_writers_and_readers_loses_nothing(notebook, replicas):
    writers = [await replicas(notebook) for _ in range(3)]
    stop = threading.Event()
    compacted, problems = [], []

    def compact_all_the_time():
        try:
            while not stop.is_set():
                compacted.append(document_store.compact(notebook.pk, settled=NOW, at_least=3))
        except Exception as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=compact_all_the_time) for _ in range(2)]
    [thread.start() for thread in threads]

    async def write(replica, letter):
        for _ in range(40):
            edit(replica, "c0", letter)
            await replica.settle()
            fresh = await replicas(notebook)
            assert sources(fresh)[0].count(letter) == sources(replica)[0].count(letter)
            await fresh.close()

    try:
        await asyncio.gather(*(write(replica, letter) for replica, letter in zip(writers, "pqr", strict=True)))
    finally:
        stop.set()
        await asyncio.to_thread(lambda: [thread.join() for thread in threads])
    assert not problems
    assert any(compacted)
    fresh = await replicas(notebook)
    assert [sources(fresh)[0].count(letter) for letter in "pqr"] == [40, 40, 40]


async def test_the_page_gets_its_removal_told(notebook, workspace, replicas):
    replica = await replicas(notebook)
    await sync_to_async(document.removed)(workspace.pk, PATH)
    async with asyncio.timeout(10):
        await replica.gone.wait()
    with pytest.raises(DocumentGone):
        await sync_to_async(document_store.read)(notebook.pk)


async def test_a_log_that_fails_for_a_while_loses_nothing(notebook, replicas, monkeypatch, caplog):
    replica, log = await replicas(notebook), document_log()
    append, failures = type(log).append, iter([OSError("disk"), OSError("disk")])

    def flaky(self, *arguments):
        for failure in failures:
            raise failure
        return append(self, *arguments)

    monkeypatch.setattr(type(log), "append", flaky)
    edit(replica, "c0", " y")
    await until(lambda: not replica.pending)
    assert sources(await replicas(notebook))[0] == "x = 1 y"
    assert "cannot be written" in caplog.text


def _logs():
    logs = [TableLog]
    if settings.REDIS_URL:
        logs.append(lambda: RedisLog(__import__("redis").Redis.from_url(settings.REDIS_URL)))
    return logs


@pytest.mark.parametrize("make", _logs())
def test_a_log_keeps_order_and_forgets_what_it_is_told(notebook, make):
    log = make()
    numbers = [log.append(notebook.pk, bytes([n]), "me") for n in range(5)]
    assert numbers == sorted(set(numbers))
    assert [update.data for update in log.read(notebook.pk, after=numbers[2])] == [b"\3", b"\4"]
    assert log.heads([notebook.pk]) == {notebook.pk: numbers[-1]}
    assert log.settled(notebook.pk, NOW) == numbers[-1]
    assert log.settled(notebook.pk, timedelta(hours=1)) == 0
    log.discard(notebook.pk, numbers[:4])
    assert [update.seq for update in log.read(notebook.pk)] == numbers[4:]
    log.erase(notebook.pk)
    assert log.read(notebook.pk) == []
    assert log.heads([notebook.pk]) == {}


async def test_an_update_that_becomes_visible_late_is_not_missed(notebook, replicas, monkeypatch):
    """As on PostgreSQL, where the transaction with the lower number may be the one that commits later."""
    monkeypatch.setattr(TableLog, "overlap", timedelta(seconds=60))
    if not isinstance(document_log(), TableLog):
        pytest.skip("a Redis stream shows its entries in order")
    replica, writer = await replicas(notebook), await replicas(notebook)
    edit(writer, "c0", " late")
    await writer.settle()
    row = await DocumentUpdate.objects.alatest("pk")
    await replica.catch_up()
    before = sources(replica)
    fresh = await replicas(notebook)
    await DocumentUpdate.objects.filter(pk=row.pk).adelete()
    edit(writer, "c1", " early")
    await writer.settle()
    blind = await replicas(notebook)
    assert sources(blind)[0] == "x = 1"
    await DocumentUpdate.objects.acreate(pk=row.pk, document=notebook, data=bytes(row.data), origin=row.origin)
    await blind.catch_up()
    assert sources(blind) == ["x = 1 late", "x early"]
    assert before[0] == sources(fresh)[0] == "x = 1 late"


def test_an_old_notebook_without_ids_opens_with_ids_and_trust(workspace):
    old = (
        b'{"cells":[{"cell_type":"code","source":["1"],"metadata":{},"outputs":[],"execution_count":null}],'
        b'"metadata":{},"nbformat":4,"nbformat_minor":2}'
    )
    content = notebook_form.parse("notebook", old)
    assert content["cells"][0]["id"]
    assert content["cells"][0]["metadata"]["trusted"]


@pytest.mark.parametrize("broken", [b"{", b"[]", b"\xff", b'{"cells": 3, "nbformat": 4, "nbformat_minor": 5}', b"null"])
def test_a_broken_notebook_is_refused_in_words(workspace, broken):
    storage.write(workspace, PATH, broken, source="uploaded")
    with pytest.raises(notebook_form.NotANotebook) as caught:
        document.opened(workspace.pk, PATH, "json", "notebook")
    assert str(caught.value.user_message)
    storage.write(workspace, PATH, make_notebook("1"), source="uploaded")
    assert document.opened(workspace.pk, PATH, "json", "notebook")[0].snapshot is not None


def test_an_empty_file_opens_as_a_new_notebook(workspace):
    storage.write(workspace, PATH, b"", source="uploaded")
    row, made = document.opened(workspace.pk, PATH, "json", "notebook")
    assert made
    assert Document.objects.get(pk=row.pk).snapshot
