"""What of an assignment is missing or changed is said while one works and at submit; Restore puts it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import nbformat
import pytest

from classroom import restore as verb
from classroom.models import Assignment, Work
from classroom.people.models import User
from classroom.queries import notebook as queries
from runtimes import storage
from runtimes.jupyter import document
from runtimes.models import FileVersion, Workspace
from tests.classroom.work import DATA, PS1, work_of

Notebook = dict[str, Any]
COPY = "problem1-Copy1.ipynb"


@pytest.fixture
def work(ps1: Assignment, ada: User) -> Work:
    return work_of(ps1, ada)


def words(response: Any) -> str:
    return " ".join(response.content.decode().split())


def content(workspace: Workspace, path: str = PS1) -> Notebook:
    return nbformat.reads(document.current_sync(workspace, path).decode(), as_version=4)


def edit(workspace: Workspace, change: Callable[[Notebook], object], path: str = PS1) -> None:
    """As if somebody had worked in it elsewhere and uploaded it, or in the open document if there is one."""
    if not document.change_sync(workspace, path, lambda found: change(found) or found):
        found = content(workspace, path)
        change(found)
        storage.write(workspace, path, json.dumps(found).encode())
    document.flush_sync(workspace)


def take_away(cell_id: str) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != cell_id]

    return change


def answer(notebook: Notebook) -> None:
    next(cell for cell in notebook["cells"] if cell["id"] == "squares")["source"] = "def squares(n): return n"


def ids(workspace: Workspace) -> list[str]:
    return [cell["id"] for cell in content(workspace)["cells"]]


def test_work_as_it_was_given_out_or_answered_says_nothing(work, ada, as_user):
    assert queries.findings(work).sentences == []
    edit(work.workspace, answer)
    assert queries.findings(work).sentences == []
    assert 'id="restore"' not in words(as_user(ada).get(f"/w/{work.workspace.slug}/state/"))


def test_the_bar_says_which_cell_is_missing(work, ada, as_user):
    edit(work.workspace, take_away("tests"))
    page = words(as_user(ada).get(f"/w/{work.workspace.slug}/state/"))
    assert "The test cell “tests” is missing." in page
    assert 'id="restore"' in page


def test_the_whole_page_and_the_page_without_the_frame_say_it_too(work, ada, as_user):
    edit(work.workspace, take_away("tests"))
    for address in ("", "hand-in/"):
        assert "The test cell “tests” is missing." in words(as_user(ada).get(f"/w/{work.workspace.slug}/{address}"))


def test_a_ta_who_looks_on_is_not_asked_to_restore(work, tim, as_user):
    edit(work.workspace, take_away("tests"))
    assert "is missing" not in words(as_user(tim).get(f"/w/{work.workspace.slug}/state/"))


def test_the_receipt_repeats_it_and_the_work_is_handed_in_as_it_is(work, ada, as_user):
    edit(work.workspace, take_away("tests"))
    client = as_user(ada)
    page = words(client.post(f"/w/{work.workspace.slug}/submit/", {"request_key": "k"}, HTTP_HX_REQUEST="true"))
    assert "Handed in" in page
    assert "The test cell “tests” is missing." in page
    assert "tests" not in ids(work.workspace)


@pytest.mark.parametrize("opened", [False, True])
def test_restore_puts_the_cell_back_and_keeps_what_was_written(opened, work, ada, as_user):
    if opened:
        document.opened(work.workspace_id, PS1, "json", "notebook")
    edit(work.workspace, answer)
    edit(work.workspace, take_away("tests"))
    page = words(as_user(ada).post(f"/w/{work.workspace.slug}/restore/", HTTP_HX_REQUEST="true"))
    assert "It is put back." in page
    assert ids(work.workspace) == ["title", "squares", "tests", "essay"]
    assert content(work.workspace)["cells"][1]["source"] == "def squares(n): return n"
    assert queries.findings(work).sentences == []
    stored = json.loads(storage.read(storage.files(work.workspace).get(path=PS1).blob))
    assert [cell["id"] for cell in stored["cells"]] == ids(work.workspace)


@pytest.mark.parametrize("opened", [False, True])
def test_the_notebook_before_that_is_kept_as_a_version(opened, work):
    if opened:
        document.opened(work.workspace_id, PS1, "json", "notebook")
    edit(work.workspace, take_away("tests"))
    before = storage.files(work.workspace).get(path=PS1).blob_id
    verb.restore(work)
    assert FileVersion.objects.filter(workspace=work.workspace, path=PS1, blob_id=before).exists()


def test_restoring_twice_changes_nothing_more(work):
    edit(work.workspace, take_away("tests"))
    assert verb.restore(work).written == [PS1]
    assert verb.restore(work).written == []


def test_what_is_typed_meanwhile_in_the_open_notebook_stays(work):
    document.opened(work.workspace_id, PS1, "json", "notebook")
    edit(work.workspace, take_away("tests"))

    def typed_meanwhile(found: Notebook) -> Notebook:
        document.change_sync(work.workspace, PS1, lambda other: answer(other) or other)
        return {**found, "cells": [*found["cells"], {**found["cells"][0], "id": "added"}]}

    document.change_sync(work.workspace, PS1, typed_meanwhile)
    assert ids(work.workspace)[-1] == "added"
    assert content(work.workspace)["cells"][1]["source"] == "def squares(n): return n"


def test_a_missing_file_is_named_and_comes_back(work):
    storage.remove(work.workspace, DATA)
    assert queries.findings(work).sentences == [f"The file “{DATA}” is missing."]
    assert verb.restore(work).written == [DATA]
    assert storage.read(storage.files(work.workspace).get(path=DATA).blob) == b"1,2,3\n"


def test_a_changed_data_file_is_the_students_own(work):
    storage.write(work.workspace, DATA, b"mine")
    assert queries.findings(work).sentences == []
    assert verb.restore(work).written == []


def test_a_renamed_notebook_is_recognised_and_has_its_name_again_with_all_that_is_in_it(work, ada, as_user):
    edit(work.workspace, answer)
    storage.rename(work.workspace, PS1, "my answer.ipynb")
    assert queries.findings(work).sentences == [f"The notebook “{PS1}” is called “my answer.ipynb” now."]
    response = as_user(ada).post(f"/w/{work.workspace.slug}/restore/", HTTP_HX_REQUEST="true")
    assert response["HX-Redirect"] == f"/w/{work.workspace.slug}/"
    assert content(work.workspace)["cells"][1]["source"] == "def squares(n): return n"
    assert queries.findings(work).sentences == []


@pytest.mark.parametrize("opened", [False, True])
def test_a_notebook_that_was_moved_into_a_folder_is_recognised_and_goes_back_where_it_belongs(opened, work):
    if opened:
        document.opened(work.workspace_id, PS1, "json", "notebook")
    edit(work.workspace, answer)
    storage.rename(work.workspace, PS1, f"sub/{PS1}")
    assert queries.findings(work).sentences == [f"The notebook “{PS1}” is in another folder now: “sub/{PS1}”."]
    assert verb.restore(work).written == [PS1]
    assert queries.findings(work).sentences == []
    assert content(work.workspace)["cells"][1]["source"] == "def squares(n): return n"
    assert list(storage.files(work.workspace).values_list("path", flat=True)) == [DATA, PS1]


def test_a_hidden_checkpoint_is_no_moved_notebook(work):
    storage.rename(work.workspace, PS1, f".ipynb_checkpoints/{PS1}")
    assert queries.findings(work).sentences == [f"The notebook “{PS1}” is missing."]


def test_a_data_file_in_another_folder_is_named_and_comes_back_beside_the_moved_one(work):
    storage.rename(work.workspace, DATA, f"sub/{DATA}")
    assert queries.findings(work).sentences == [f"The file “{DATA}” is not in its place; “sub/{DATA}” is there."]
    assert verb.restore(work).written == [DATA]
    assert sorted(storage.files(work.workspace).values_list("path", flat=True)) == [DATA, PS1, f"sub/{DATA}"]


def copied(work: Work, change: Callable[[Notebook], object], name: str = COPY) -> None:
    """*Make a copy*, and work in the copy."""
    storage.write(work.workspace, name, document.current_sync(work.workspace, PS1))
    edit(work.workspace, change, name)


def test_answers_in_a_copy_are_named_in_the_page_and_at_submit(work, ada, as_user):
    copied(work, answer)
    said = f"“{COPY}” has answers that “{PS1}” lacks: squares. Only “{PS1}” is graded."
    assert queries.findings(work).sentences == [said]
    client = as_user(ada)
    for address in ("", "state/", "hand-in/"):
        page = words(client.get(f"/w/{work.workspace.slug}/{address}"))
        assert said in page
        assert f"Use “{COPY}” instead" in page
        # There is nothing that could be put back.
        assert ">Restore<" not in page
    page = words(client.post(f"/w/{work.workspace.slug}/submit/", {"request_key": "k"}, HTTP_HX_REQUEST="true"))
    assert said in page


def test_a_copy_without_other_answers_and_a_folder_of_old_versions_are_nobodys_business(work):
    edit(work.workspace, answer)
    copied(work, lambda notebook: None)
    copied(work, lambda notebook: notebook["cells"][1].update(source="def squares(n): pass"), f"old/{PS1}")
    storage.write(work.workspace, "own.ipynb", json.dumps(nbformat.v4.new_notebook()).encode())
    assert queries.findings(work).sentences == []


def test_a_copy_beside_it_with_other_answers_to_the_same_questions_is_named(work):
    edit(work.workspace, answer)
    copied(work, lambda notebook: notebook["cells"][1].update(source="def squares(n): return [0, 1]"))
    [said] = queries.findings(work).sentences
    assert said == f"“{COPY}” is a copy of “{PS1}” with other answers: squares. Only “{PS1}” is graded."


def choice(work: Work) -> dict[str, str]:
    [offered] = queries.findings(work).copies
    return {name: offered[name] for name in ("path", "copy", "sha256")}


@pytest.mark.parametrize("opened", [False, True])
def test_the_copy_can_be_used_instead_and_both_stay(opened, work, ada, as_user):
    if opened:
        document.opened(work.workspace_id, PS1, "json", "notebook")
    copied(work, answer)
    edit(work.workspace, lambda notebook: notebook["cells"][3].update(source="My essay."))
    chosen = choice(work)
    address = f"/w/{work.workspace.slug}/use-copy/"
    assert as_user(ada).post(address, chosen, HTTP_HX_REQUEST="true")["HX-Redirect"] == f"/w/{work.workspace.slug}/"
    assert content(work.workspace)["cells"][1]["source"] == "def squares(n): return n"
    assert content(work.workspace, COPY)["cells"][3]["source"] == "My essay."
    # A second click does not change them back.
    page = words(as_user(ada).post(address, chosen, HTTP_HX_REQUEST="true"))
    assert "Nothing was changed" in page
    assert content(work.workspace)["cells"][1]["source"] == "def squares(n): return n"


def test_only_what_the_page_offers_can_be_used(work, ada, ben, tim, as_user):
    copied(work, answer)
    chosen = choice(work)
    address = f"/w/{work.workspace.slug}/use-copy/"
    for other in ({"copy": DATA}, {"path": DATA}, {"sha256": "0" * 64}, {"copy": "../elsewhere.ipynb"}):
        assert "Nothing was changed" in words(as_user(ada).post(address, {**chosen, **other}, follow=True))
    assert as_user(ben).post(address, chosen).status_code == 404
    assert as_user(tim).post(address, chosen).status_code == 403
    Assignment.objects.update(state=Assignment.State.CLOSED)
    assert as_user(ada).post(address, chosen).status_code == 403
    assert content(work.workspace)["cells"][1]["source"] != "def squares(n): return n"


def test_a_missing_notebook_comes_back_as_it_was_given_out(work):
    storage.remove(work.workspace, PS1)
    assert queries.findings(work).sentences == [f"The notebook “{PS1}” is missing."]
    assert verb.restore(work).reopen
    assert ids(work.workspace) == ["title", "squares", "tests", "essay"]


def test_a_notebook_that_cannot_be_read_is_left_alone(work):
    storage.write(work.workspace, PS1, b"{ no JSON")
    assert queries.findings(work).sentences == [f"The notebook “{PS1}” cannot be read."]
    assert verb.restore(work).written == []


def test_without_a_script_restore_leads_back(work, ada, as_user):
    edit(work.workspace, take_away("tests"))
    page = as_user(ada).post(f"/w/{work.workspace.slug}/restore/", follow=True)
    assert "It is put back." in words(page)


def test_closed_work_is_not_restored(work, ada, as_user, ps1):
    edit(work.workspace, take_away("tests"))
    Assignment.objects.update(state=Assignment.State.CLOSED)
    assert as_user(ada).post(f"/w/{work.workspace.slug}/restore/").status_code == 403
    assert "tests" not in ids(work.workspace)


def test_nobody_else_restores(work, ben, tim, as_user):
    assert as_user(ben).post(f"/w/{work.workspace.slug}/restore/").status_code == 404
    assert as_user(tim).post(f"/w/{work.workspace.slug}/restore/").status_code == 403


def test_a_tutorial_is_nobodys_business(tutorial, ada):
    opened = work_of(tutorial, ada)
    storage.remove(opened.workspace, DATA)
    assert queries.findings(opened).sentences == []
