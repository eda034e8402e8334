"""Submit and hand in: frozen once under a receipt; late is taken, closed is refused, nothing is lost."""

from __future__ import annotations

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone

from classroom import submit
from classroom.errors import Closed, NotASubmission, NotSaved
from classroom.models import Assignment, Extension, Group, Outbox
from classroom.queries import receipt
from grading.errors import AttemptsUsedUp
from grading.models import Autograding, Submission
from runtimes import storage
from runtimes.errors import QuotaExceeded
from runtimes.jupyter import document
from tests.classroom.work import DATA, PS1, graded, handed_in, published, source, work_of


def test_submit_freezes_the_work_under_a_receipt(ps1, ada):
    work = work_of(ps1, ada)
    storage.write(work.workspace, "answer.txt", b"42")
    submission = submit.submit(work, ada, request_key="k").submission
    storage.write(work.workspace, "answer.txt", b"43")
    assert storage.read_snapshot(submission.snapshot)["answer.txt"] == b"42"
    assert submission.attempt == 1
    assert submission.release == work.release
    assert len(submission.snapshot.digest) == 64
    assert list(submission.authors.all()) == [ada]
    assert not submission.late_by


def test_the_same_request_twice_is_one_submission_with_one_grading(ps1, ada):
    first = submit.submit(work_of(ps1, ada), ada, request_key="k")
    again = submit.submit(work_of(ps1, ada), ada, request_key="k")
    assert again.submission == first.submission
    assert again.again
    assert not first.again
    assert Autograding.objects.count() == 1
    assert Outbox.objects.filter(kind="drive_copy").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_double_click_at_once_is_one_submission(ps1, ada):
    work = work_of(ps1, ada)

    def click(_):
        try:
            return submit.submit(work, ada, request_key="k").submission.pk
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(click, range(4)))) == 1
    assert Autograding.objects.count() == 1


def test_another_request_is_another_attempt(ps1, ada):
    assert handed_in(ps1, ada, key="1").attempt == 1
    assert handed_in(ps1, ada, key="2").attempt == 2


def test_a_late_click_is_taken_and_marked_late(ps1, ada):
    work = work_of(ps1, ada)
    late = ps1.due_at + timedelta(minutes=5)
    submission = submit.submit(work, ada, request_key="k", clicked_at=late).submission
    assert submission.late_by == timedelta(minutes=5)
    assert submission.received_at == late


def test_the_time_of_the_click_counts_not_that_of_the_slow_rest(ps1, ada, monkeypatch):
    work = work_of(ps1, ada)
    just = ps1.due_at - timedelta(seconds=1)
    monkeypatch.setattr(document, "flush_sync", lambda workspace: Assignment.objects.update(due_at=just))
    assert not submit.submit(work, ada, request_key="k", clicked_at=just).submission.late_by


def test_an_extension_moves_what_is_late(ps1, ada, grace):
    work = work_of(ps1, ada)
    Extension.objects.create(assignment=ps1, user=ada, due_at=ps1.due_at + timedelta(days=2), granted_by=grace)
    submission = submit.submit(work, ada, request_key="k", clicked_at=ps1.due_at + timedelta(days=1)).submission
    assert not submission.late_by
    assert submission.due_at == ps1.due_at + timedelta(days=2)


def test_a_closed_assignment_is_refused_and_the_work_kept(ps1, ada):
    work = work_of(ps1, ada)
    Assignment.objects.update(state=Assignment.State.CLOSED)
    work.assignment.refresh_from_db()
    with pytest.raises(Closed):
        submit.submit(work, ada, request_key="k")
    assert Submission.objects.count() == 0
    assert storage.files(work.workspace).count() == 2


def test_a_repeated_request_after_closing_still_gives_its_receipt(ps1, ada):
    work = work_of(ps1, ada)
    first = submit.submit(work, ada, request_key="k").submission
    Assignment.objects.update(state=Assignment.State.CLOSED)
    work.assignment.refresh_from_db()
    assert submit.submit(work, ada, request_key="k").submission == first


def test_attempts_are_limited(course, grace, ada):
    assignment = published(course, grace, attempt_limit=2)
    handed_in(assignment, ada, key="1")
    handed_in(assignment, ada, key="2")
    with pytest.raises(AttemptsUsedUp):
        handed_in(assignment, ada, key="3")
    assert Submission.objects.count() == 2


def test_a_tutorial_and_a_preview_cannot_be_handed_in(tutorial, ps1, ada, grace):
    from classroom import launch

    with pytest.raises(NotASubmission):
        submit.submit(work_of(tutorial, ada), ada, request_key="k")
    with pytest.raises(NotASubmission):
        submit.submit(launch.preview(ps1, grace), grace, request_key="k")


def test_what_could_not_be_saved_is_not_handed_in(ps1, ada, monkeypatch):
    def full(workspace):
        raise QuotaExceeded("full")

    monkeypatch.setattr(document, "flush_sync", full)
    with pytest.raises(NotSaved) as caught:
        submit.submit(work_of(ps1, ada), ada, request_key="k")
    assert "nothing was handed in" in str(caught.value.user_message)
    assert "no room left" in str(caught.value.user_message)
    assert Submission.objects.count() == 0


def test_a_group_hands_in_for_all_its_members(ps1, ada, ben):
    group = Group.objects.create(assignment=ps1, name="pair")
    group.members.set([ada, ben], through_defaults={"assignment": ps1})
    submission = handed_in(ps1, ada)
    assert set(submission.authors.all()) == {ada, ben}
    assert handed_in(ps1, ben, key="other").attempt == 2


def test_grading_and_the_drive_copy_are_queued_on_commit(ps1, ada, django_capture_on_commit_callbacks):
    work = work_of(ps1, ada)
    with django_capture_on_commit_callbacks() as callbacks:
        submit.submit(work, ada, request_key="k")
    assert len(callbacks) >= 2
    assert Outbox.objects.get(kind="drive_copy").state == Outbox.State.WAITING


# --- the pages


def post(client, slug, **extra):
    return client.post(f"/w/{slug}/submit/", {"request_key": "k"}, **extra)


def test_the_button_gives_a_receipt_in_place_and_a_new_key(ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    response = post(as_user(ada), slug, headers={"HX-Request": "true"})
    page = response.content.decode()
    submission = Submission.objects.get()
    assert submission.code in page
    assert submission.snapshot.digest in page
    assert 'id="submit-form"' in page
    assert 'value="k"' not in page


def test_without_a_script_submit_leads_to_the_receipt(ps1, ada, as_user):
    client = as_user(ada)
    response = post(client, work_of(ps1, ada).workspace.slug)
    assert response["Location"] == f"/receipts/{Submission.objects.get().code}/"
    page = client.get(response["Location"]).content.decode()
    assert Submission.objects.get().snapshot.digest in page
    assert PS1 in page


def test_the_receipt_asks_less_often_the_more_are_ahead(ps1, ada, ben, as_user):
    submission = handed_in(ps1, ada)
    state = f"/receipts/{submission.code}/state/"
    assert "delay:1000ms" in as_user(ada).get(state).content.decode()
    ahead = handed_in(ps1, ben).autogradings
    ahead.update(queued_at=timezone.now() - timedelta(hours=1))
    assert "delay:1200ms" in as_user(ada).get(state).content.decode()
    found = receipt.progress(ps1, submission)
    assert replace(found, ahead=10_000).look_again_ms == 30_000


def test_the_receipt_follows_grading_until_it_is_done(ps1, ada, as_user):
    submission = handed_in(ps1, ada)
    client = as_user(ada)
    state = f"/receipts/{submission.code}/state/"
    assert f'hx-get="{state}"' in client.get(state).content.decode()
    graded(submission)
    Submission.objects.update(state="graded")
    page = client.get(state).content.decode()
    assert "hx-get" not in page
    assert ">2<small>/5</small>" in page


def test_a_receipt_can_be_kept_as_text(ps1, ada, as_user):
    submission = handed_in(ps1, ada)
    response = as_user(ada).get(f"/receipts/{submission.code}/text/")
    text = response.content.decode()
    assert response["Content-Type"].startswith("text/plain")
    for part in (submission.code, submission.snapshot.digest, PS1, "Ada", "Attempt: 1"):
        assert part in text


def test_receipts_are_for_their_authors(ps1, ada, ben, mallory, tim, as_user):
    code = handed_in(ps1, ada).code
    for person in (ben, mallory, tim):
        for path in ("", "text/", "files/", "state/"):
            assert as_user(person).get(f"/receipts/{code}/{path}").status_code == 404


def test_what_was_handed_in_can_be_downloaded_byte_for_byte(ps1, ada, as_user):
    submission = handed_in(ps1, ada)
    body = as_user(ada).get(f"/receipts/{submission.code}/files/").content
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        found = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    assert found == storage.read_snapshot(submission.snapshot)


def notebook(text="mine") -> bytes:
    content = json.loads(source())
    content["cells"][0]["source"] = text
    return json.dumps(content).encode()


def hand_in(client, slug, *files):
    uploads = [SimpleUploadedFile(name, data) for name, data in files]
    return client.post(f"/w/{slug}/hand-in/", {"files": uploads, "request_key": "k"}, follow=True)


@pytest.mark.parametrize("name", [PS1, "problem1 (2).ipynb", "my answers.ipynb"])
def test_a_file_is_handed_in_without_the_frame_and_the_work_stays(ps1, ada, as_user, name):
    work = work_of(ps1, ada)
    before = list(storage.files(work.workspace).values_list("path", "blob"))
    response = hand_in(as_user(ada), work.workspace.slug, (name, notebook()))
    submission = Submission.objects.get()
    assert response.redirect_chain[-1][0] == f"/receipts/{submission.code}/"
    assert storage.read_snapshot(submission.snapshot) == {PS1: notebook(), DATA: b"1,2,3\n"}
    assert list(storage.files(work.workspace).values_list("path", "blob")) == before


def test_what_is_not_brought_is_handed_in_as_it_is_on_the_site(ps1, ada, as_user):
    work = work_of(ps1, ada)
    storage.write(work.workspace, DATA, b"mine")
    hand_in(as_user(ada), work.workspace.slug, (PS1, notebook()))
    assert storage.read_snapshot(Submission.objects.get().snapshot) == {PS1: notebook(), DATA: b"mine"}


def test_a_zip_is_handed_in(ps1, ada, as_user):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"ps1/{PS1}", notebook())
        archive.writestr("ps1/plot.csv", "9")
    hand_in(as_user(ada), work_of(ps1, ada).workspace.slug, ("ps1.zip", packed.getvalue()))
    files = storage.read_snapshot(Submission.objects.get().snapshot)
    assert files["plot.csv"] == b"9"
    assert files[PS1] == notebook()


def test_another_file_with_a_kept_key_is_another_attempt(ps1, ada, as_user):
    client, slug = as_user(ada), work_of(ps1, ada).workspace.slug
    hand_in(client, slug, (PS1, notebook("one")))
    hand_in(client, slug, (PS1, notebook("one")))
    hand_in(client, slug, (PS1, notebook("two")))
    assert Submission.objects.count() == 2


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (PS1, b"not json", "is not a notebook"),
        (PS1, b"[]", "is not a notebook"),
        ("essay.txt", b"words", "None of the files is a notebook"),
        ("ps1.zip", b"PK broken", "zip"),
    ],
)
def test_what_is_no_notebook_is_refused_with_a_sentence(ps1, ada, as_user, name, data, says):
    response = hand_in(as_user(ada), work_of(ps1, ada).workspace.slug, (name, data))
    assert says in response.content.decode()
    assert Submission.objects.count() == 0


def test_a_closed_page_says_so_and_takes_nothing(ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    Assignment.objects.update(closes_at=timezone.now() - timedelta(minutes=1))
    client = as_user(ada)
    response = client.post(f"/w/{slug}/submit/", {"request_key": "k"}, headers={"HX-Request": "true"})
    assert "This assignment is closed" in response.content.decode()
    assert "closed" in hand_in(client, slug, (PS1, notebook())).content.decode()
    assert Submission.objects.count() == 0
