"""The run of autograding as a teacher and a TA see it; and what each result was made with, wherever it is said."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from classroom import wake
from grading import pace
from grading.models import Autograding, Submission
from tests.classroom.work import graded, handed_in

RUN = "/c/data/a/ps1/teach/grading/"
HTMX = {"HX-Request": "true"}
TWELVE = timedelta(seconds=12)


@pytest.fixture(autouse=True)
def woken(monkeypatch) -> list[str]:
    """How often workers were woken; nobody is."""
    sent: list[str] = []
    monkeypatch.setattr(wake, "graders", lambda: sent.append("graders"))
    return sent


@pytest.fixture
def adas(ps1, ada) -> Submission:
    return made_with(graded(handed_in(ps1, ada)), "sha256:old")


@pytest.fixture
def bens(ps1, ben) -> Submission:
    return made_with(graded(handed_in(ps1, ben), tests=Decimal(1)), "sha256:new")


def made_with(submission: Submission, environment: str, engine: str = "nbgrader 0.9.6") -> Submission:
    finished = timezone.now() + timedelta(seconds=submission.pk)
    submission.autogradings.filter(current=True).update(
        environment_digest=environment, engine_version=engine, finished_at=finished
    )
    return submission


def failed(submission: Submission, code: str = "kernel_out_of_memory") -> Submission:
    Submission.objects.filter(pk=submission.pk).update(state=Submission.State.FAILED)
    submission.autogradings.filter(current=True).update(
        state=Autograding.State.FAILED, log="the end of the log", failures=[{"code": code, "notebook": "problem1"}]
    )
    return submission


def test_progress_failures_by_kind_and_pass_rates_are_on_one_page(ps1, adas, bens, cleo, dan, grace, as_user):
    failed(graded(handed_in(ps1, cleo)))
    handed_in(ps1, dan)
    page = as_user(grace).get(RUN).context["page"]
    assert (page.pace.waiting, page.pace.finished, page.pace.failed, page.pace.all) == (1, 2, 1, 4)
    assert [(kind.code, kind.count) for kind in page.kinds] == [("kernel_out_of_memory", 1)]
    [rate] = page.rates
    assert (rate.grade_id, rate.scored, rate.passed, rate.percent) == ("tests", 3, 2, 67)


def test_pace_and_time_left_are_measured_and_unknown_until_enough_have_ended(ps1, ada, ben, grace, as_user):
    """Each run takes twelve seconds, one after the other: five a minute."""
    waits = handed_in(ps1, ben)
    began = timezone.now()
    for number in range(pace.FEWEST):
        shown = " ".join(as_user(grace).get(RUN).content.decode().split())
        assert "Time left: unknown" in shown
        assert "a minute" not in shown
        run = graded(handed_in(ps1, ada, key=str(number))).autogradings.get()
        times = {"started_at": began + number * TWELVE, "finished_at": began + (number + 1) * TWELVE}
        Autograding.objects.filter(pk=run.pk).update(**times)
    found = as_user(grace).get(RUN).context["page"].pace
    assert (found.waiting, found.running, found.per_minute, found.left) == (1, 0, 5, TWELVE)
    shown = " ".join(as_user(grace).get(RUN).content.decode().split())
    assert "5 a minute" in shown
    assert "About 1 minute left." in shown
    # What runs has its time to take, too; nothing is left once all has ended.
    waits.autogradings.update(state=Autograding.State.RUNNING)
    assert as_user(grace).get(RUN).context["page"].pace.left == TWELVE
    graded(waits)
    shown = " ".join(as_user(grace).get(RUN).content.decode().split())
    assert " left" not in shown


def test_the_log_of_one_is_two_clicks_away(ps1, cleo, grace, as_user):
    submission = failed(graded(handed_in(ps1, cleo)))
    client = as_user(grace)
    assert "?kind=kernel_out_of_memory" in client.get(RUN).content.decode()
    run = submission.autogradings.get()
    listed = client.get(RUN, {"kind": "kernel_out_of_memory"}).content.decode()
    assert f'href="{RUN}{run.pk}/"' in listed
    shown = client.get(f"{RUN}{run.pk}/").content.decode()
    assert "the end of the log" in shown
    assert "needed more memory" in shown


def test_a_ta_sees_their_section_and_stops_nothing(adas, ps1, dan, tim, tess, as_user):
    failed(graded(handed_in(ps1, dan)))
    assert as_user(tim).get(RUN).context["page"].pace.all == 1
    page = as_user(tess).get(RUN)
    assert page.context["page"].pace.failed == 1
    assert "Stop grading" not in page.content.decode()
    assert as_user(tess).get(f"{RUN}{adas.autogradings.get().pk}/").status_code == 404


def test_names_that_are_hidden_stay_hidden(ps1, cleo, tim, as_user):
    submission = failed(graded(handed_in(ps1, cleo)))
    client = as_user(tim)
    client.post("/c/data/a/ps1/submissions/anonymous/")
    for address in (f"{RUN}?kind=kernel_out_of_memory", f"{RUN}{submission.autogradings.get().pk}/"):
        text = client.get(address).content.decode()
        assert "Cleo" not in text
        assert submission.code in text


def test_grading_is_stopped_and_goes_on(ps1, ada, grace, as_user, woken):
    handed_in(ps1, ada)
    client = as_user(grace)
    client.post(f"{RUN}move/", {"act": "stop"})
    text = client.get(RUN).content.decode()
    assert "1 waits until you go on." in text
    assert "grading is stopped" in client.get("/c/data/a/ps1/teach/").content.decode()
    woken.clear()
    client.post(f"{RUN}move/", {"act": "resume"})
    assert woken
    woken.clear()
    client.post(f"{RUN}move/", {"act": "resume"})
    assert woken == []
    assert "Stop grading" in client.get(RUN).content.decode()


def test_the_page_follows_until_all_are_graded(ps1, ada, grace, as_user):
    submission = handed_in(ps1, ada)
    client = as_user(grace)
    part = client.get(RUN, headers=HTMX).content.decode()
    assert "<h1" not in part
    assert 'hx-trigger="every 3s"' in part
    graded(submission)
    assert "hx-trigger" not in client.get(RUN, headers=HTMX).content.decode()


def test_all_that_failed_are_graded_again_from_there(ps1, adas, cleo, grace, as_user):
    for key in ("1", "2"):
        failed(graded(handed_in(ps1, cleo, key=key)))
    client = as_user(grace)
    answer = client.post("/c/data/a/ps1/submissions/again/", {"next": RUN, "every": "1"})
    assert answer["Location"] == RUN
    page = client.get(RUN).context["page"]
    assert (page.pace.waiting, page.pace.failed, page.pace.all) == (2, 0, 3)


def test_a_teacher_sees_that_some_were_graded_in_another_environment(adas, bens, grace, as_user):
    client = as_user(grace)
    page = client.get(RUN)
    assert (page.context["page"].older, page.context["page"].results) == (1, 2)
    assert "1 of 2 was graded in another environment" in page.content.decode()
    form = client.get("/c/data/a/ps1/teach/regrades/?older").context["form"]
    assert (form["version"].value(), form["scope"].value(), form["chosen"].value()) == ("same", "chosen", [adas.code])
    for environment in ("sha256:new", ""):
        made_with(adas, environment)
        assert client.get(RUN).context["page"].older == 0


def test_a_receipt_names_the_version_and_once_graded_the_environment_and_the_engine(ps1, ada, as_user):
    submission = handed_in(ps1, ada)
    client = as_user(ada)
    before = client.get(f"/receipts/{submission.code}/").content.decode()
    assert "<dt>Version</dt><dd>1</dd>" in before
    assert "<dt>Engine</dt>" not in before
    made_with(graded(submission), "sha256:abc")
    for path in ("", "text/"):
        after = client.get(f"/receipts/{submission.code}/{path}").content.decode()
        for words in ("Version", "sha256:abc", "nbgrader 0.9.6"):
            assert words in after


def test_those_who_mark_and_the_export_of_the_gradebook_name_them_too(adas, tim, grace, as_user):
    shown = as_user(tim).get(f"/review/{adas.code}/").content.decode()
    assert "sha256:old" in shown
    assert "nbgrader 0.9.6" in shown
    text = as_user(grace).get("/c/data/gradebook/export.csv").content.decode("utf-8-sig")
    header, _most, *rows = csv.reader(io.StringIO(text))
    [row] = [dict(zip(header, one, strict=True)) for one in rows if one[0].startswith("ada@")]
    assert (row["ps1 version"], row["ps1 environment"], row["ps1 engine"]) == ("1", "sha256:old", "nbgrader 0.9.6")
