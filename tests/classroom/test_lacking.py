"""What a submission is known to lack is on its row: on the receipt, to those who mark, and on the notebook's bar."""

from __future__ import annotations

import asyncio
import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from classroom import gather, submit
from classroom.models import Assignment, Work
from classroom.people.models import User
from grading.models import Submission
from runtimes import storage
from runtimes.endpoint import Endpoint
from runtimes.models import Runtime
from tests.classroom.work import PS1, graded, handed_in, source, work_of
from tests.runtimes.fakes import FakeAgent

TOO_LARGE = "A file may have at most 64 MB."
SILENT = "the machine did not answer in time"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, for sockets."""
    with tempfile.TemporaryDirectory(prefix="pl-", dir="/tmp") as made:
        yield Path(made)


def machine(work: Work, folder: Path, **row: object) -> Runtime:
    """A runtime's row: what is there listens in `folder`."""
    workspace = work.workspace
    endpoint = Endpoint("ipc", str(folder), "test").to_json()
    values = {"state": Runtime.State.READY, "endpoint": endpoint, "account": workspace.account, **row}
    return Runtime.objects.create(workspace=workspace, profile=workspace.profile, **values)


def test_a_machine_that_does_not_answer_is_on_the_row_the_receipt_and_the_page_of_who_marks(
    ps1, ada, grace, as_user, folder, monkeypatch
):
    monkeypatch.setattr(gather, "PULL_SECONDS", 0.05)
    machine(work_of(ps1, ada), folder)
    submission = handed_in(ps1, ada)
    assert submission.files_may_lack
    client = as_user(ada)
    for address in (f"/receipts/{submission.code}/", f"/receipts/{submission.code}/text/"):
        assert SILENT in client.get(address).content.decode()
    assert "submit once more" in client.get(f"/receipts/{submission.code}/").content.decode()
    graded(submission)
    seen = as_user(grace).get(f"/review/{submission.code}/").content.decode()
    assert SILENT in seen
    assert "submit once more" not in seen


def test_the_dialog_after_the_click_says_it_at_once(ps1, ada, as_user, folder, monkeypatch):
    monkeypatch.setattr(gather, "PULL_SECONDS", 0.05)
    work = work_of(ps1, ada)
    machine(work, folder)
    answer = as_user(ada).post(
        f"/w/{work.workspace.slug}/submit/", {"request_key": "k"}, headers={"HX-Request": "true"}
    )
    assert SILENT in answer.content.decode()


def test_a_machine_that_is_just_stopping_is_asked_too(ps1, ada, folder, monkeypatch):
    monkeypatch.setattr(gather, "PULL_SECONDS", 0.05)
    machine(work_of(ps1, ada), folder, state=Runtime.State.STOPPING)
    assert handed_in(ps1, ada).files_may_lack


def test_what_a_stopped_machine_could_not_keep_is_named_in_the_readers_language(ps1, ada, as_user, folder):
    many = {f"plot{number}.bin": TOO_LARGE for number in range(7)}
    machine(work_of(ps1, ada), folder, state=Runtime.State.STOPPED, left_out=many)
    submission = handed_in(ps1, ada)
    assert not submission.files_may_lack
    User.objects.update(language="fr")
    said = as_user(ada).get(f"/receipts/{submission.code}/text/").content.decode()
    assert "plot0.bin, plot1.bin, plot2.bin, plot3.bin, plot4.bin et 2 autres" in said
    assert "64 Mo" in said


def test_the_bar_says_what_is_not_kept_as_long_as_it_is_so(ps1, ada, as_user, folder):
    work = work_of(ps1, ada)
    runtime = machine(work, folder, left_out={"plot.bin": TOO_LARGE})
    client = as_user(ada)
    assert f"Not kept: plot.bin. {TOO_LARGE}" in client.get(f"/w/{work.workspace.slug}/state/").content.decode()
    Runtime.objects.filter(pk=runtime.pk).update(left_out={})
    assert "Not kept" not in client.get(f"/w/{work.workspace.slug}/state/").content.decode()


def test_nothing_is_said_where_nothing_lacks(ps1, ada, as_user):
    submission = handed_in(ps1, ada)
    assert (submission.files_may_lack, submission.left_out) == (False, {})
    assert "notice--wait" not in as_user(ada).get(f"/receipts/{submission.code}/").content.decode()


def alone(what):
    """The result of `what` on a thread of its own, with a connection of its own."""

    def run():
        try:
            return what()
        finally:
            connection.close()

    return asyncio.to_thread(run)


@pytest.mark.django_db(transaction=True)
def test_submit_hand_in_and_download_fetch_what_code_wrote(ps1: Assignment, ada: User, as_user, folder: Path):
    work = work_of(ps1, ada)
    runtime = machine(work, folder)
    client = as_user(ada)

    async def act() -> tuple[Submission, Submission, bytes]:
        agent = FakeAgent(Endpoint.from_json(runtime.endpoint))
        try:
            agent.skipped = {"huge.bin": "too-large"}
            agent.files["one.csv"] = b"1"
            first = await alone(lambda: submit.submit(work, ada, request_key="k").submission)
            agent.files["two.csv"] = b"2"
            second = await alone(lambda: submit.submit_files(work, ada, {PS1: source()}, request_key="k").submission)
            agent.files["three.csv"] = b"3"
            body = await alone(lambda: client.get(f"/w/{work.workspace.slug}/download/").content)
            return first, second, body
        finally:
            await agent.close()

    first, second, body = asyncio.run(act())
    assert storage.read_snapshot(first.snapshot)["one.csv"] == b"1"
    assert storage.read_snapshot(second.snapshot)["two.csv"] == b"2"
    assert first.left_out == second.left_out == {"huge.bin": TOO_LARGE}
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert {"one.csv", "two.csv", "three.csv"} <= {name.split("/", 1)[1] for name in archive.namelist()}
