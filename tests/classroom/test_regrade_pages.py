"""Regrades as a teacher does them: points in a form, whose score moves, approved, told, rejected."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from django.core import mail
from django.utils import timezone

from classroom import forms_regrade, give_back, publish, score_mail, tasks, wake
from classroom.models import Outbox
from classroom.outbox import NothingToDo
from classroom.people.models import User
from classroom.queries import regrade as regrade_queries
from classroom.queries.counting import by_person
from classroom.queries.feedback import page as feedback_page
from classroom.queries.scores import scores_of
from grading import feedback, review
from grading.compare import differences
from grading.models import (
    Approval,
    Autograding,
    CellScore,
    Feedback,
    GradeCell,
    LineItem,
    Regrade,
    RegradeChange,
    Release,
    Submission,
)
from runtimes import storage
from tests.classroom.work import PS1, cell_of, graded, handed_in, source

TEACH = "/c/data/a/ps1/teach/"
REGRADES = f"{TEACH}regrades/"
HTMX = {"HX-Request": "true"}
REASON = "The hidden test was wrong."


@pytest.fixture(autouse=True)
def woken(monkeypatch) -> list[str]:
    """How often workers were woken; nobody is."""
    sent: list[str] = []
    monkeypatch.setattr(wake, "graders", lambda: sent.append("graders"))
    monkeypatch.setattr(wake, "worker", lambda task, *keys: sent.append(task))
    return sent


def mails() -> list[str]:
    """What waits to be told, by kind."""
    return list(Outbox.objects.filter(kind="score_changed_mail").values_list("state", flat=True))


@pytest.fixture
def adas(ps1, ada) -> Submission:
    return graded(handed_in(ps1, ada))


@pytest.fixture
def bens(ps1, ben) -> Submission:
    return graded(handed_in(ps1, ben), tests=Decimal(0), failed_tests="AssertionError: squares(4)")


@pytest.fixture
def newer(ps1, grace) -> Release:
    """Version 2: the tests are worth four points."""
    content = json.loads(source())
    next(cell for cell in content["cells"] if cell["id"] == "tests")["metadata"]["nbgrader"]["points"] = 4
    made = publish.upload(ps1, {PS1: json.dumps(content).encode()}, grace, keep_others=True)
    Release.objects.filter(pk=made.pk).update(state=Release.State.CHECKED)
    made.refresh_from_db()
    return made


def started(client, version: str = "2", **fields: object) -> Regrade:
    answer = client.post(REGRADES, {"version": version, "scope": "counted", "reason": REASON, **fields})
    assert answer.status_code == 302, answer.content.decode()
    return Regrade.objects.get(state=Regrade.State.OPEN)


def ended(found: Regrade, tests: int | None = 4) -> None:
    for run in found.candidates.filter(state=Autograding.State.QUEUED):
        for cell in GradeCell.objects.filter(notebook__release=run.release_id).exclude(kind="answer"):
            score = tests if cell.kind == "tests" else None
            CellScore.objects.create(autograding=run, cell=cell, auto_score=score, needs_manual_grade=score is None)
    found.candidates.update(state=Autograding.State.FINISHED)


def page(client, found: Regrade, **query: str) -> str:
    return client.get(f"{REGRADES}{found.pk}/", query).content.decode()


def move(client, found: Regrade, act: str, **fields: object):
    return client.post(f"{REGRADES}{found.pk}/move/", {"act": act, "reason": REASON, **fields}, follow=True)


def approve_all(client, found: Regrade, **fields: object):
    digest = client.get(f"{REGRADES}{found.pk}/").context["page"].digest
    answer = move(client, found, "approve_all", digest=digest, **fields)
    taken_over()
    return answer


def taken_over() -> None:
    """A worker takes over what was approved, to its end."""
    for approval in Approval.objects.filter(ended_at=None):
        tasks.take_over(approval.pk)


def returned(submission: Submission, by) -> None:
    review.give(submission, cell_of(submission, "essay"), by, manual_score=Decimal(3))
    review.finish(submission, by)
    assert feedback.release([submission], by) == 1


def test_points_are_changed_in_a_form_and_make_a_version_that_counts_nowhere(ps1, adas, grace, as_user):
    client = as_user(grace)
    form = client.get(f"{TEACH}points/").context["form"]
    names = {field.label: field.html_name for field in form}
    answer = client.post(f"{TEACH}points/", {names["tests"]: "3.5", names["essay"]: "3"}, follow=True)
    assert "Version 2 has these points" in answer.content.decode()
    made = Release.objects.get(number=2)
    assert made.max_score == Decimal("6.5")
    old, new = (storage.read_snapshot(Release.objects.get(number=n).source) for n in (1, 2))
    assert old.keys() == new.keys()
    cells = [json.loads(files[PS1])["cells"] for files in (old, new)]
    assert [one["source"] for one in cells[0]] == [one["source"] for one in cells[1]]
    assert made.state == Release.State.DRAFT
    assert Submission.objects.get(pk=adas.pk).scored_by_id == adas.release_id


def test_the_same_points_make_no_version(ps1, grace, as_user):
    client = as_user(grace)
    names = {field.label: field.html_name for field in client.get(f"{TEACH}points/").context["form"]}
    answer = client.post(f"{TEACH}points/", {names["tests"]: "2", names["essay"]: "3"})
    assert answer.status_code == 422
    assert "has these points already" in answer.content.decode()
    assert Release.objects.filter(number=2).count() == 0


def test_it_is_shown_whose_score_would_move_and_why_before_anything_counts(adas, bens, newer, grace, as_user):
    client = as_user(grace)
    found = started(client)
    assert "Time left: unknown" in page(client, found)
    ended(found)
    text = page(client, found)
    for words in ("Ada", "Ben", "(+4)", "0/2 → 4/4", "AssertionError: squares(4)", REASON, "2 of 2 are ticked"):
        assert words in text
    assert Autograding.objects.filter(current=True, regrade=found).count() == 0


def test_approving_all_counts_and_tells_those_who_could_see_their_score(adas, bens, newer, grace, tim, ada, as_user):
    returned(adas, tim)
    client = as_user(grace)
    found = started(client)
    ended(found)
    assert "Approved: 2 scores are taken over now." in approve_all(client, found).content.decode()
    found.refresh_from_db()
    assert (found.state, found.holds_from) == (Regrade.State.DONE, None)
    assert mails() == ["waiting"]
    score_mail.deliver(Outbox.objects.get(kind="score_changed_mail").payload)
    [message] = mail.outbox
    assert "has changed" in message.subject
    assert (message.to, REASON in message.body, " 7" in message.body) == (
        [ada.email],
        True,
        False,
    )
    for address in (f"/receipts/{adas.code}/", f"/feedback/{adas.code}/"):
        shown = as_user(ada).get(address).content.decode()
        assert "Your score changed from 5 to 7." in shown
        assert REASON in shown


def test_the_page_follows_while_it_is_taken_over_and_tells_when_that_is_over(adas, bens, newer, grace, as_user, woken):
    client = as_user(grace)
    found = started(client)
    ended(found)
    address = f"{REGRADES}{found.pk}/"
    woken.clear()
    said = move(client, found, "approve_all", digest=client.get(address).context["page"].digest).content.decode()
    assert woken == ["take_over"]
    assert Autograding.objects.filter(current=True, regrade=found).count() == 0
    for words in ("being taken over", "0 of 2", 'hx-trigger="every 2s"', "<noscript>"):
        assert words in said
    assert "Approve" not in said.split('id="regrade"')[1]
    part = client.get(address, headers=HTMX)
    assert "HX-Retarget" not in part
    assert "0 of 2" in part.content.decode()
    assert "Nothing was decided" in move(client, found, "reject").content.decode()
    taken_over()
    whole = client.get(address, headers=HTMX)
    assert whole["HX-Retarget"] == "#regrade"
    text = whole.content.decode()
    assert "2 scores were taken over." in text
    assert "hx-trigger" not in text
    assert woken[-1] == "drain_outbox"


def test_approved_twice_is_once(adas, bens, newer, grace, tim, as_user):
    returned(adas, tim)
    client = as_user(grace)
    found = started(client)
    ended(found)
    digest = client.get(f"{REGRADES}{found.pk}/").context["page"].digest
    for _click in range(2):
        move(client, found, "approve_all", digest=digest)
    [approval] = Approval.objects.all()
    for _message in range(3):
        tasks.take_over(approval.pk)
    assert found.candidates.filter(current=True).count() == 2
    assert mails() == ["waiting"]


def test_a_worker_that_stops_on_the_way_is_followed_by_another(adas, bens, newer, grace, as_user, monkeypatch):
    client = as_user(grace)
    found = started(client)
    ended(found)
    move(client, found, "approve_all", digest=client.get(f"{REGRADES}{found.pk}/").context["page"].digest)
    sent: list[tuple[object, ...]] = []
    monkeypatch.setattr(wake, "send", lambda *task: sent.append(task))
    [approval] = Approval.objects.all()
    tasks.sweep()
    assert ("take_over", approval.pk) in sent
    tasks.take_over(approval.pk)
    sent.clear()
    tasks.sweep()
    assert ("take_over", approval.pk) not in sent


def test_who_reads_at_that_moment_sees_all_of_before_or_all_of_after(adas, newer, grace, tim, as_user, monkeypatch):
    returned(adas, tim)
    client = as_user(grace)
    found = started(client)
    ended(found)
    read = feedback.cells
    shown: list[Decimal] = []

    def read_while_it_is_taken_over(submission: Submission, **how: object):
        cells = read(submission, **how)
        if not shown:
            approve_all(client, found)
        shown.append(sum(cell.marked.points.max_score for cell in cells if cell.marked and cell.marked.graded))
        return cells

    before = Submission.objects.select_related("line_item", "release", "correction").get(pk=adas.pk)
    monkeypatch.setattr(feedback, "cells", read_while_it_is_taken_over)
    page = feedback_page(before, nonce="")
    assert shown == [5, 7]
    assert (page.total.score, page.total.max_score, page.changes[0].new_score) == (7, 7, 7)
    # A list that was read before: scores and points are those of one version, too.
    before.correction_id = None
    assert (scores_of([before])[adas.pk].score, scores_of([before])[adas.pk].max_score) == (7, 7)


def test_only_the_last_change_is_told(adas, newer, grace, tim, as_user):
    returned(adas, tim)
    client = as_user(grace)
    for tests in (4, 1):
        found = started(client)
        ended(found, tests=tests)
        approve_all(client, found)
    first, second = Outbox.objects.filter(kind="score_changed_mail").order_by("pk")
    with pytest.raises(NothingToDo):
        score_mail.deliver(first.payload)
    score_mail.deliver(second.payload)
    assert len(mail.outbox) == 1


def test_who_cannot_see_a_score_is_not_told(adas, newer, grace, ada, as_user):
    client = as_user(grace)
    found = started(client)
    ended(found)
    approve_all(client, found)
    assert mails() == []
    assert "Your score changed" not in as_user(ada).get(f"/receipts/{adas.code}/").content.decode()


def test_the_ticked_ones_are_approved_and_the_others_wait(adas, bens, newer, grace, as_user):
    client = as_user(grace)
    found = started(client)
    ended(found)
    [bens_line] = [line for line in differences(found) if line.submission == bens]
    chosen = [f"{bens.pk}:{bens_line.fingerprint}"]
    said = move(client, found, "approve", chosen=chosen, for_later="on").content.decode()
    assert "Approved: 1 score is taken over now." in said
    taken_over()
    assert "1 score was taken over." in page(client, found)
    found.refresh_from_db()
    assert (found.state, found.holds_from is not None) == (Regrade.State.OPEN, True)
    assert [line.submission for line in differences(found)] == [adas]


def test_what_changed_since_it_was_shown_is_said_and_left(adas, bens, newer, grace, tim, as_user):
    client = as_user(grace)
    found = started(client)
    ended(found)
    digest = client.get(f"{REGRADES}{found.pk}/").context["page"].digest
    review.give(adas, cell_of(adas, "tests"), tim, manual_score=Decimal(1))
    said = move(client, found, "approve_all", digest=digest).content.decode()
    assert "Something has changed since this was shown" in said
    assert "Nothing was decided" in move(client, found, "approve", chosen=["nonsense"]).content.decode()
    move(client, found, "approve", chosen=[f"{adas.pk}:0123456789abcdef"])
    taken_over()
    assert "1 was not: it was marked" in page(client, found)
    assert not Autograding.objects.filter(current=True, regrade=found).exists()


def test_what_would_need_a_person_is_not_ticked_by_itself(adas, bens, newer, grace, tim, as_user):
    returned(adas, tim)
    client = as_user(grace)
    found = started(client)
    ended(found, tests=None)
    text = page(client, found, show="needing")
    assert "would need a person" in text
    assert "0 of 2 is ticked" in text or "0 of 2 are ticked" in text
    assert "checked>" not in text.split("for_later")[0]


def fingerprint(found: Regrade, submission: Submission) -> str:
    """What the submission's box says."""
    [line] = differences(found, [submission.pk])
    return f"{submission.pk}:{line.fingerprint}"


def test_all_but_these_on_any_page_are_approved(adas, bens, ps1, cleo, newer, grace, as_user, monkeypatch):
    monkeypatch.setattr(regrade_queries, "PAGE", 1)
    cleos = graded(handed_in(ps1, cleo))
    client = as_user(grace)
    found = started(client)
    ended(found)
    digest = client.get(f"{REGRADES}{found.pk}/").context["page"].digest
    # Ben's tick is taken off on the way to the next page; Cleo's by the button that approves.
    shown = client.post(
        f"{REGRADES}{found.pk}/move/", {"on_page": str(bens.pk), "show": "moves", "page": "2"}, follow=True
    )
    assert shown.redirect_chain[0][0].endswith(f"{found.pk}/?show=moves&page=2")
    assert shown.context["part"].number == 2
    assert "2 of 3 are ticked" in shown.content.decode()
    [left] = client.get(f"{REGRADES}{found.pk}/", {"show": "unticked"}).context["part"]
    assert left.names == "Ben"
    move(client, found, "approve_all", digest=digest, on_page=f"{cleos.pk},99999,nonsense")
    taken_over()
    assert [change.submission for change in RegradeChange.objects.all()] == [adas]
    found.refresh_from_db()
    assert found.state == Regrade.State.OPEN


def test_what_needs_a_person_is_approved_with_the_others_where_it_is_ticked(adas, bens, newer, grace, tim, as_user):
    returned(adas, tim)
    client = as_user(grace)
    found = started(client)
    ended(found, tests=None)
    move(client, found, "", on_page=f"{adas.pk},{bens.pk}", chosen=[fingerprint(found, bens)])
    assert "1 of 2 is ticked" in page(client, found)
    approve_all(client, found)
    assert [change.submission for change in RegradeChange.objects.all()] == [bens]


def test_the_last_word_about_a_tick_counts(adas, bens, newer, grace, as_user):
    client = as_user(grace)
    found = started(client)
    ended(found)
    for chosen in ([], [fingerprint(found, adas)], []):
        move(client, found, "", on_page=str(adas.pk), chosen=chosen)
    assert list(found.ticks.values_list("submission", "ticked")) == [(adas.pk, False)]
    move(client, found, "reject")
    move(client, found, "", on_page=str(bens.pk))
    assert found.ticks.count() == 1


def test_rejecting_changes_nothing_and_tells_nobody(adas, newer, grace, tim, as_user):
    returned(adas, tim)
    client = as_user(grace)
    found = started(client)
    ended(found)
    move(client, found, "reject")
    found.refresh_from_db()
    assert (found.state, mails()) == (Regrade.State.REJECTED, [])
    assert "Rejected by Grace: no score has changed" in page(client, found)
    assert review.total_of(Submission.objects.get(pk=adas.pk)).score == 5


def test_a_mark_that_stays_is_named(adas, newer, grace, tim, as_user):
    review.give(adas, cell_of(adas, "tests"), tim, manual_score=Decimal(1))
    client = as_user(grace)
    found = started(client)
    ended(found)
    assert "Tim gave 1 by hand, and that stays; the tests say 4." in page(client, found, show="kept")


def test_grading_again_uses_what_was_approved_a_moment_before(ps1, adas, newer, grace, as_user):
    client = as_user(grace)
    found = started(client)
    ended(found)
    approve_all(client, found)
    give_back._queue(adas)  # read before the approval
    waiting = Autograding.objects.get(submission=adas, state=Autograding.State.QUEUED)
    assert (waiting.regrade, waiting.release) == (None, newer)


def test_the_gradebook_has_the_points_of_the_version_that_holds(adas, newer, grace, as_user):
    client = as_user(grace)
    found = started(client)
    ended(found)
    assert "/ 5" in client.get("/c/data/gradebook/").content.decode()
    approve_all(client, found, for_later="on")
    assert "/ 7" in client.get("/c/data/gradebook/").content.decode()
    assert "max_score,,7" in client.get("/c/data/gradebook/export.csv").content.decode()


def test_a_second_regrade_waits_for_the_first(adas, newer, grace, as_user):
    client = as_user(grace)
    started(client)
    answer = client.post(REGRADES, {"version": "2", "scope": "all", "reason": "again"})
    assert answer.status_code == 422
    assert "Decide that one first" in answer.content.decode()


def test_attempts_can_be_chosen_and_what_does_not_count_is_left_out(ps1, ada, bens, newer, grace, as_user):
    first = graded(handed_in(ps1, ada, key="1"))
    second = graded(handed_in(ps1, ada, key="2"))
    client = as_user(grace)
    form = client.get(REGRADES).context["form"]
    assert [label for _value, label in form.fields["scope"].choices][:2] == [
        "The attempts that count (2)", "All attempts (3)",
    ]  # fmt: skip
    found = started(client)
    assert set(found.candidates.values_list("submission", flat=True)) == {second.pk, bens.pk}
    move(client, found, "reject")
    assert client.post(REGRADES, {"version": "2", "scope": "chosen", "reason": "x"}).status_code == 422
    found = started(client, scope="chosen", chosen=[first.code])
    assert list(found.candidates.values_list("submission", flat=True)) == [first.pk]


def test_of_very_many_attempts_those_that_are_meant_are_written_down(
    ps1, ada, ben, bens, newer, grace, as_user, monkeypatch
):
    monkeypatch.setattr(forms_regrade, "MOST_LISTED", 2)
    first, second = (graded(handed_in(ps1, ada, key=key)) for key in ("1", "2"))
    client = as_user(grace)
    assert b'type="checkbox" name="chosen"' not in client.get(REGRADES).content
    form = {"version": "2", "scope": "chosen", "reason": REASON}
    for chosen, said in (("nobody@example.org", "nobody@example.org”"), (" \n", "Choose at least one attempt")):
        answer = client.post(REGRADES, {**form, "chosen": chosen})
        assert (answer.status_code, said in answer.content.decode()) == (422, True)
    found = started(client, scope="chosen", chosen=f"{first.code.lower()}\n\n{ben.email.upper()}\n")
    assert set(found.candidates.values_list("submission", flat=True)) == {first.pk, bens.pk}
    move(client, found, "reject")
    initial = client.get(REGRADES, {"older": ""}).context["form"].initial
    assert (initial["scope"], isinstance(initial["chosen"], str)) == ("chosen", True)
    found = started(client, scope="chosen", chosen=ada.email)
    assert set(found.candidates.values_list("submission", flat=True)) == {first.pk, second.pk}


def keep_best(assignment) -> None:
    LineItem.objects.filter(pk=assignment.line_item_id).update(keep=LineItem.Keep.BEST)


def counted_of(client, found: Regrade) -> list[tuple[str, Decimal, int, Decimal, int]]:
    """Who, the counted score now and its attempt, then and its attempt."""
    rows = client.get(f"{REGRADES}{found.pk}/", {"show": "counted"}).context["page"].counted.students
    return [(one.name, one.old.score, one.before.attempt, one.new.score, one.after.attempt) for one in rows]


def scores(found: Regrade, tests: dict[int, int]) -> None:
    """Ends the candidates with these points of their tests, by submission."""
    for run in found.candidates.all():
        cell = GradeCell.objects.get(notebook__release=run.release_id, kind="tests")
        CellScore.objects.create(autograding=run, cell=cell, auto_score=tests[run.submission_id])
    found.candidates.update(state=Autograding.State.FINISHED)


def test_where_the_best_counts_it_is_said_whose_counted_score_changes(ps1, ada, ben, cleo, newer, grace, as_user):
    keep_best(ps1)
    first, second = (graded(handed_in(ps1, ada, key=k), tests=Decimal(n)) for k, n in (("1", 2), ("2", 1)))
    bens = [graded(handed_in(ps1, ben, key=k), tests=Decimal(n)) for k, n in (("1", 2), ("2", 0))]
    cleos = graded(handed_in(ps1, cleo), tests=Decimal(1))
    client = as_user(grace)
    found = started(client, scope="all")
    # Ada's second becomes her best; Ben's worse attempt moves and changes nothing that counts; Cleo loses.
    tests = {first.pk: 2, second.pk: 4, bens[0].pk: 2, bens[1].pk: 1, cleos.pk: 0}
    scores(found, tests)
    assert counted_of(client, found) == [("Cleo", 1, 1, 0, 1), ("Ben", 2, 1, 2, 1), ("Ada", 2, 1, 4, 2)]
    text = page(client, found, show="counted")
    for words in (
        "changes the score that counts for 3 students", "1 goes up", "1 goes down", "for 1 another attempt counts then",
        "(+2)", "another attempt",
    ):  # fmt: skip
        assert words in text
    approve_all(client, found)
    assert "Ada" in client.get("/c/data/gradebook/").content.decode()
    now = {one.pk: counts.attempt for one, counts in counting_now(ps1).items()}
    assert now == {ada.pk: 2, ben.pk: 1, cleo.pk: 1}


def counting_now(assignment) -> dict[User, Submission]:
    """Whose attempt counts."""
    found = by_person([LineItem.objects.get(pk=assignment.line_item_id)], User.objects.all())
    return {User.objects.get(pk=user): counts for (user, _item), (counts, _others) in found.items()}


def test_a_worse_attempt_that_moves_changes_nothing_that_counts(ps1, ada, newer, grace, as_user):
    keep_best(ps1)
    first, second = (graded(handed_in(ps1, ada, key=k), tests=Decimal(n)) for k, n in (("1", 2), ("2", 0)))
    client = as_user(grace)
    found = started(client, scope="chosen", chosen=[second.code])
    scores(found, {second.pk: 1})
    assert counted_of(client, found) == []
    text = page(client, found)
    assert "changes nobody’s score that counts" in text
    assert f"/review/{first.code}" not in text


def test_where_the_last_counts_nothing_is_said_about_other_attempts(adas, newer, grace, as_user):
    client = as_user(grace)
    found = started(client)
    ended(found)
    text = page(client, found)
    assert "The best attempt counts" not in text
    assert "show=counted" not in text
    assert counted_of(client, found) == []


def test_what_is_handed_in_meanwhile_can_be_taken_in(ps1, adas, newer, grace, cleo, as_user):
    client = as_user(grace)
    found = started(client)
    late = graded(handed_in(ps1, cleo))
    assert "handed in since this began" in page(client, found)
    move(client, found, "include")
    assert found.candidates.filter(submission=late).exists()
    assert "handed in since this began" not in page(client, found)


def test_it_stops_goes_on_and_the_page_follows(adas, newer, grace, as_user, woken):
    client = as_user(grace)
    found = started(client)
    address = f"{REGRADES}{found.pk}/"
    part = client.get(address, headers=HTMX)
    assert "HX-Retarget" not in part
    assert "<h1" not in part.content.decode()
    assert 'hx-trigger="every 2s"' in part.content.decode()
    move(client, found, "stop")
    assert "wait until you go on" in page(client, found) or "waits until you go on" in page(client, found)
    woken.clear()
    move(client, found, "resume")
    assert woken == ["graders"]
    ended(found)
    whole = client.get(address, headers=HTMX)
    assert whole["HX-Retarget"] == "#regrade"
    assert "hx-trigger" not in whole.content.decode()


def test_candidates_that_failed_are_tried_again(adas, newer, grace, as_user):
    client = as_user(grace)
    found = started(client)
    found.candidates.update(state=Autograding.State.FAILED, failures=[{"code": "gave_up"}])
    move(client, found, "again")
    assert found.candidates.get().state == Autograding.State.QUEUED


def test_a_course_that_is_archived_is_not_graded_again(adas, newer, grace, course, as_user):
    client = as_user(grace)
    found = started(client)
    ended(found)
    course.archived_at = timezone.now()
    course.save()
    assert "The course is archived" in approve_all(client, found).content.decode()
    assert not Autograding.objects.filter(current=True, regrade=found).exists()
    move(client, found, "reject")
    answer = client.post(REGRADES, {"version": "2", "scope": "all", "reason": "x"})
    assert answer.status_code == 422
    assert Regrade.objects.count() == 1


def test_a_regrade_of_another_assignment_is_not_there(adas, newer, tutorial, grace, as_user):
    client = as_user(grace)
    found = started(client)
    assert client.get(f"/c/data/a/tutorial/teach/regrades/{found.pk}/").status_code == 404
    assert LineItem.objects.count() == 2


def test_feedback_that_moved_is_news_on_the_students_page(adas, newer, grace, tim, ada, as_user):
    returned(adas, tim)
    as_user(ada).get(f"/feedback/{adas.code}/")
    assert Feedback.objects.get().read_at is not None
    client = as_user(grace)
    found = started(client)
    ended(found)
    approve_all(client, found)
    assert Feedback.objects.get().read_at is None
