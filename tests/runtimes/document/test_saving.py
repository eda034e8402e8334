"""A document becomes a file again."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import nbformat
import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from runtimes import storage
from runtimes.errors import QuotaExceeded
from runtimes.jupyter import document, document_store, notebook_form, saving
from runtimes.jupyter.open_documents import open_documents
from runtimes.jupyter.saving import FOREIGN_SECONDS, OWN_SECONDS, SAVES_APART, begins_at
from runtimes.models import Document, FileVersion, Workspace, WorkspaceFile
from tests.runtimes.document.conftest import PATH, cell, edit, make_notebook, put_notebook, saved, sources, until


async def _saved_sources(workspace: Workspace) -> list[str]:
    return [one["source"] for one in (await sync_to_async(saved)(workspace))["cells"]]


@pytest.mark.parametrize("took", [0, 0.01, 0.1, 0.2, 0.33])
@pytest.mark.parametrize("after", [0, 0.005, 0.1, 0.3, 0.5, 1, 60])
def test_an_edit_begins_to_be_saved_within_a_second_where_a_save_takes_a_third_of_one(took, after):
    edited = 1000 + after
    assert edited <= begins_at(edited, None, began=1000, took=took) <= edited + 1


@pytest.mark.parametrize("took", [0.4, 1, 5])
def test_what_takes_long_is_saved_a_third_of_the_time_and_an_edit_waits_for_three_saves_at_most(took):
    # Somebody types without a pause, also while it is saved.
    begun = [begins_at(1000.0, None, began=0, took=took)]
    for _ in range(9):
        first = begun[-1] + 0.001
        begun.append(begins_at(first, None, began=begun[-1], took=took))
        assert begun[-1] - first <= SAVES_APART * took
    assert (begun[-1] - begun[0]) / 9 == pytest.approx(SAVES_APART * took)


def test_an_edit_here_is_not_held_up_by_one_elsewhere_which_waits_for_who_made_it():
    assert begins_at(None, 1000, began=0, took=0) == 1000 + FOREIGN_SECONDS
    assert begins_at(1001, 1000, began=0, took=0) == 1001 + OWN_SECONDS
    assert begins_at(1002.4, 1000, began=0, took=0) == 1000 + FOREIGN_SECONDS


async def test_the_saver_keeps_to_it(notebook, workspace, monkeypatch):
    """An edit here while it waits, for ever, because of one elsewhere."""
    monkeypatch.setattr(saving, "FOREIGN_SECONDS", 3600)
    async with open_documents().hold(notebook.pk) as opened:
        opened.saver._changed(b"", foreign=True, source=None)
        await until(lambda: opened.saver._foreign)
        edit(opened.replica, "c0", " # here")
        await until(lambda: _is_saved(workspace, "x = 1 # here"))
    await open_documents().close()


async def test_an_edit_is_saved_by_itself(notebook, workspace):
    async with open_documents().hold(notebook.pk) as opened:
        edit(opened.replica, "c0", " # typed")
        assert (await document.astate(workspace)).saved_at
        await until(lambda: _is_saved(workspace, "x = 1 # typed"))
        state = await until(lambda: _clean(workspace))
        assert timezone.now() - state.saved_at < timedelta(minutes=1)
        assert opened.replica.view.dirty is False
        row = await WorkspaceFile.objects.aget(workspace=workspace, path=PATH)
        assert opened.replica.view.hash == row.blob_id
    await open_documents().close()


async def _is_saved(workspace: Workspace, source: str) -> bool:
    return source in await _saved_sources(workspace)


async def _clean(workspace: Workspace) -> document.DocumentState | None:
    state = await document.astate(workspace)
    return None if state.dirty else state


@pytest.mark.kill
async def test_who_saves_is_killed_and_another_process_saves(notebook, workspace, start_process):
    async with open_documents().hold(notebook.pk) as opened:
        other = await start_process(notebook)
        await other.ask("edit_and_settle", cell="c0", text=" # theirs")
        await other.kill()
        await until(lambda: sources(opened.replica)[0] == "x = 1 # theirs")
        await until(lambda: _is_saved(workspace, "x = 1 # theirs"))
        assert await until(lambda: _clean(workspace))
    await open_documents().close()


async def test_what_a_killed_process_did_not_save_is_saved_when_the_notebook_is_opened_again(
    notebook, workspace, start_process
):
    other = await start_process(notebook)
    await other.ask("edit_and_settle", cell="c0", text=" # theirs")
    await other.kill()
    assert not await _is_saved(workspace, "x = 1 # theirs")
    async with open_documents().hold(notebook.pk):
        await until(lambda: _is_saved(workspace, "x = 1 # theirs"))
        assert await until(lambda: _clean(workspace))
    await open_documents().close()


async def test_savers_of_many_processes_end_with_one_content(notebook, workspace, start_process):
    others = [await start_process(notebook) for _ in range(2)]
    async with open_documents().hold(notebook.pk) as opened:
        for _ in range(4):
            edit(opened.replica, "c0", "m")
            await asyncio.gather(*(other.ask("edit", cell="c1", text="t") for other in others))
            await asyncio.gather(opened.saver.save(), *(other.ask("save") for other in others))
        await until(lambda: _is_saved(workspace, "x" + "t" * 8))
        assert (await _saved_sources(workspace))[0] == "x = 1" + "m" * 4
        assert await until(lambda: _clean(workspace))
    for other in others:
        await other.kill()
    await open_documents().close()


def test_an_older_content_never_replaces_a_newer_one(notebook, workspace):
    newer, older = make_notebook("newer"), make_notebook("older")
    assert document_store.save(notebook.pk, newer, seq=10)
    assert document_store.save(notebook.pk, older, seq=9) is None
    assert saved(workspace)["cells"][0]["source"] == "newer"


async def test_flush_needs_no_page(notebook, workspace, replicas):
    replica = await replicas(notebook)
    edit(replica, "c0", " # kept")
    await replica.close()
    assert (await document.astate(workspace)).dirty
    await document.flush(workspace)
    assert await _is_saved(workspace, "x = 1 # kept")
    assert not (await document.astate(workspace)).dirty


def test_what_is_saved_is_what_was_opened(workspace):
    """All kinds of cells and outputs come out as they went in; nothing of ours is in the file."""
    cells = [
        nbformat.v4.new_markdown_cell("# hé", id="m", attachments={"a.png": {"image/png": "AAAA"}}),
        nbformat.v4.new_raw_cell("raw", id="r"),
        nbformat.v4.new_code_cell(
            "1",
            id="c",
            execution_count=3,
            metadata={"nbgrader": {"grade": True, "points": 2, "schema_version": 3}, "tags": ["a"]},
            outputs=[
                nbformat.v4.new_output("stream", name="stdout", text="one\ntwo\n"),
                nbformat.v4.new_output("display_data", data={"application/json": {"n": 1, "f": 0.5}}),
                nbformat.v4.new_output("execute_result", data={"text/plain": "1"}, execution_count=3),
                nbformat.v4.new_output("error", ename="E", evalue="v", traceback=["t"]),
            ],
        ),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    before = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    storage.write(workspace, PATH, nbformat.writes(before).encode(), source="uploaded")
    row, _made = document.opened(workspace.pk, PATH, "json", "notebook")
    document_store.save(row.pk, _content(row), seq=1)
    assert saved(workspace) == before


def _content(row: Document) -> bytes:
    stored = document_store.read(row.pk)
    return notebook_form.to_bytes(notebook_form.content_of(notebook_form.shared(row.type, stored.doc())))


async def test_an_edit_from_elsewhere_reaches_an_open_page(notebook, workspace, replicas):
    page = await replicas(notebook)
    content = {
        "cells": [{**_plain(cell(page, "c0")), "source": "new"}],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    assert await document.post_edit(workspace, PATH, content)
    await until(lambda: sources(page) == ["new"])
    assert notebook_form.parse("notebook", await document.current(workspace, PATH))["cells"][0]["source"] == "new"


def _plain(one) -> dict:
    value = one.to_py()
    value.pop("execution_state")
    return value


def test_an_edit_of_a_file_that_was_never_open_is_left_to_storage(workspace):
    storage.write(workspace, PATH, make_notebook("1"), source="uploaded")
    assert document.post_edit_sync(workspace, PATH, {"cells": []}) is False
    assert document.current_sync(workspace, PATH) == make_notebook("1")


def test_what_someone_else_wrote_into_the_file_never_replaces_an_open_document(notebook, workspace):
    mine, theirs = make_notebook("mine"), make_notebook("theirs")
    document_store.save(notebook.pk, mine, seq=5)
    storage.write(workspace, PATH, theirs, source="code")
    document_store.save(notebook.pk, make_notebook("mine too"), seq=6)
    assert saved(workspace)["cells"][0]["source"] == "mine too"
    kept = FileVersion.objects.filter(workspace=workspace, path=PATH, blob__sha256=storage.put(theirs).pk)
    assert kept.exists()


def test_a_document_that_nobody_changed_follows_its_restored_file(notebook, workspace):
    storage.write(workspace, PATH, make_notebook("restored"), source="restored")
    row, made = document.opened(workspace.pk, PATH, "json", "notebook")
    assert (row.pk, made) == (notebook.pk, False)
    assert [one["source"] for one in notebook_form.parse("notebook", _content(row))["cells"]] == ["restored"]
    document.opened(workspace.pk, PATH, "json", "notebook")
    assert len(notebook_form.parse("notebook", _content(row))["cells"]) == 1


async def test_a_removed_file_is_not_written_again_by_its_open_document(notebook, workspace):
    async with open_documents().hold(notebook.pk) as opened:
        await sync_to_async(storage.remove)(workspace, PATH)
        edit(opened.replica, "c0", " # ghost")
        async with asyncio.timeout(20):
            await opened.replica.gone.wait()
    await open_documents().close()
    assert not await WorkspaceFile.objects.filter(workspace=workspace).aexists()


async def test_a_renamed_file_is_saved_under_its_new_name(notebook, workspace):
    async with open_documents().hold(notebook.pk) as opened:
        await sync_to_async(storage.rename)(workspace, PATH, "ps1/other.ipynb")
        edit(opened.replica, "c0", " # moved")
        await opened.saver.save()
    await open_documents().close()
    found = await sync_to_async(saved)(workspace, "ps1/other.ipynb")
    assert found["cells"][0]["source"] == "x = 1 # moved"
    assert [row.path async for row in WorkspaceFile.objects.filter(workspace=workspace)] == ["ps1/other.ipynb"]


async def test_a_full_workspace_keeps_the_edit_in_the_log_and_saves_once_there_is_room(notebook, workspace, caplog):
    await Workspace.objects.filter(pk=workspace.pk).aupdate(quota_bytes=10)
    async with open_documents().hold(notebook.pk) as opened:
        edit(opened.replica, "c0", " # full")
        with pytest.raises(QuotaExceeded):
            await opened.saver.save()
        assert (await document.astate(workspace)).dirty
        await Workspace.objects.filter(pk=workspace.pk).aupdate(quota_bytes=1 << 20)
        await until(lambda: _is_saved(workspace, "x = 1 # full"))
    await open_documents().close()


async def test_a_plain_text_file_is_shared_and_saved_too(workspace):
    await sync_to_async(storage.write)(workspace, "notes.md", "# né\n".encode(), source="uploaded")
    row, _made = await sync_to_async(document.opened)(workspace.pk, "notes.md", "text", "file")
    async with open_documents().hold(row.pk) as opened:
        opened.replica.view.set("é # né\n")
        await opened.saver.save()
    await open_documents().close()
    assert await document.current(workspace, "notes.md") == "é # né\n".encode()


def test_two_documents_of_a_workspace_are_flushed_though_one_is_broken(workspace):
    first, second = put_notebook(workspace, "1"), put_notebook(workspace, "2", path="b.ipynb")
    document.post_edit_sync(workspace, first.path, {**_notebook("one"), "metadata": {}})
    document.post_edit_sync(workspace, second.path, _notebook("two"))
    document.flush_sync(workspace)
    assert saved(workspace)["cells"][0]["source"] == "one"
    assert saved(workspace, "b.ipynb")["cells"][0]["source"] == "two"


def _notebook(source: str) -> dict:
    return notebook_form.parse("notebook", make_notebook(source))  # type: ignore[return-value]
