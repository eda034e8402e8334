"""Courses and assignments, through the teacher's pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import nbformat
import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from nbformat.v4 import new_code_cell, new_notebook

from classroom import publish
from classroom.models import Assignment, Course, Enrollment, Work
from classroom.people.models import User
from grading import feedback
from grading.models import LineItem, Release, ReleaseCheck, Submission
from tests.classroom.test_uploads import zipped
from tests.classroom.work import DATA, PS1, graded, handed_in, published, source, work_of

State, Check = Assignment.State, ReleaseCheck.State
TEACH = "/c/data/a/ps2/teach/"


def files(**named: bytes) -> list[SimpleUploadedFile]:
    return [SimpleUploadedFile(name.replace("__", "."), data) for name, data in named.items()]


def made(client, **more):
    body = {
        "kind": "assignment",
        "title": "Arrays",
        "slug": "ps2",
        "unit": "Week 2",
        "uploads": files(a__ipynb=source()),
    }
    return client.post("/c/data/assignments/new/", body | more)


def checked(state: str = Check.PASSED, *, release_state: str = Release.State.CHECKED, **more) -> Release:
    """The newest release as its check leaves it."""
    release = Release.objects.order_by("-pk")[0]
    Release.objects.filter(pk=release.pk).update(state=release_state)
    ReleaseCheck.objects.filter(release=release).update(state=state, **more)
    return release


class TestCourses:
    def test_who_may_makes_a_course_and_teaches_it(self, grace: User, as_user):
        client = as_user(grace)
        body = {"title": "Data Science", "term": "Autumn", "slug": "", "time_zone": "Europe/Paris"}
        response = client.post("/courses/new/", body)
        assert response.url == "/c/data-science/teach/"
        assert "New assignment" in client.get(response.url).content.decode()

    def test_who_may_not_is_refused(self, mallory: User, as_user):
        assert as_user(mallory).get("/courses/new/").status_code == 403
        assert not Course.objects.exists()

    def test_the_right_can_be_given(self, mallory: User, as_user):
        mallory.user_permissions.add(Permission.objects.get(codename="add_course"))
        assert as_user(mallory).get("/courses/new/").status_code == 200

    def test_a_short_name_is_taken_once(self, course: Course, grace: User, as_user):
        page = as_user(grace).post("/courses/new/", {"title": "x", "slug": "data", "time_zone": "UTC"})
        assert page.status_code == 422
        assert "There is a course “data” already" in page.content.decode()

    def test_archiving_wants_the_name_and_can_be_undone(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        assert client.post("/c/data/settings/archive/", {"name": "dta"}).status_code == 422
        client.post("/c/data/settings/archive/", {"name": "data"})
        course.refresh_from_db()
        assert course.archived_at is not None
        client.post("/c/data/settings/archive/")
        course.refresh_from_db()
        assert course.archived_at is None

    def test_nothing_is_published_in_an_archived_course(self, course: Course, ps1: Assignment, grace: User, as_user):
        client = as_user(grace)
        client.post("/c/data/settings/archive/", {"name": "data"})
        page = client.post("/c/data/a/ps1/teach/move/", {"act": "close"}, follow=True)
        assert "The course is archived" in page.content.decode()

    def test_order_and_units_are_what_students_see(self, course: Course, grace: User, ada: User, as_user):
        first, second = published(course, grace, slug="one"), published(course, grace, slug="two")
        body = {
            f"position-{first.pk}": "2",
            f"unit-{first.pk}": "B",
            f"position-{second.pk}": "1",
            f"unit-{second.pk}": "A",
        }
        as_user(grace).post("/c/data/order/", body)
        words = as_user(ada).get("/c/data/").content.decode()
        assert words.index("Problem set two") < words.index("Problem set one")

    def test_a_unit_stands_once_wherever_its_assignments_are(self, course: Course, grace: User, as_user):
        for slug, unit in (("one", "A"), ("two", "B"), ("three", "A")):
            Assignment.objects.filter(pk=published(course, grace, slug=slug).pk).update(unit=unit)
        words = as_user(grace).get("/c/data/teach/").content.decode()
        assert [words.count(f"<h2>{unit}</h2>") for unit in "AB"] == [1, 1]
        assert words.index("Problem set three") < words.index("Problem set two")

    def test_the_row_says_what_waits(self, course: Course, ps1: Assignment, grace: User, ada: User, ben: User, as_user):
        graded(handed_in(ps1, ada))
        Submission.objects.filter(pk=handed_in(ps1, ben).pk).update(state=Submission.State.FAILED)
        words = as_user(grace).get("/c/data/teach/").content.decode()
        assert "1 to mark" in words
        assert "1 failed to grade" in words
        assert "Of 5 students: 2 opened, 2 submitted, 0 graded, 0 returned" in words

    def test_a_ta_sees_only_their_sections_numbers(
        self, course: Course, ps1: Assignment, tess: User, ada: User, dan: User, as_user
    ):
        graded(handed_in(ps1, ada))
        work_of(ps1, dan)
        words = as_user(tess).get("/c/data/teach/").content.decode()
        assert "Of 2 students: 1 opened, 0 submitted" in words
        assert "to mark" not in words
        assert "New assignment" not in words


class TestUploading:
    def test_notebooks_and_data_become_a_draft_with_a_report(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        uploads = files(a__ipynb=source(), data__csv=b"1,2")
        assert made(client, uploads=uploads).url == TEACH
        words = client.get(TEACH).content.decode()
        assert "5 points: 1 autograded test, 1 written answer" in words
        for word in ("squares", "autograded tests", "manually graded answer", "data.csv", "waits for a place to run"):
            assert word in words

    def test_a_zip_does_as_well(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        made(client, uploads=[SimpleUploadedFile("ps2.zip", zipped({"ps2/a.ipynb": source(), "ps2/d/x.csv": b"1"}))])
        assert "d/x.csv" in client.get(TEACH).content.decode()

    def test_a_refused_upload_leaves_nothing_behind(self, course: Course, grace: User, as_user):
        page = made(as_user(grace), uploads=[SimpleUploadedFile("x.zip", b"no zip")])
        assert page.status_code == 422
        assert "not a zip file" in page.content.decode()
        assert not Assignment.objects.exists()
        assert not LineItem.objects.exists()

    def test_no_files_and_a_taken_name_are_said(self, course: Course, ps1: Assignment, grace: User, as_user):
        page = made(as_user(grace), slug="ps1", uploads=[])
        words = page.content.decode()
        assert "Choose the files first." in words
        assert "The course has “ps1” already." in words

    def test_problems_lead_to_their_cells(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        made(client, uploads=files(a__ipynb=source().replace(b'"tests"', b'"squares"'), b__ipynb=b"nonsense"))
        words = client.get(TEACH).content.decode()
        assert "cannot be published" in words
        assert f'{TEACH}versions/1/notebooks/a.ipynb#cell-3"' in words
        assert "b.ipynb" in words
        assert "<code>squares</code>: The id is used already" in words
        assert "0 points" not in words
        assert "Change points" not in words
        assert 'id="cell-3"' in client.get(f"{TEACH}versions/1/notebooks/a.ipynb").content.decode()
        assert client.get(f"{TEACH}publish/").url == TEACH

    def test_a_new_version_keeps_the_other_files_if_wanted(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        made(client, uploads=files(a__ipynb=source(), data__csv=b"1"))
        client.post(f"{TEACH}upload/", {"uploads": files(b__ipynb=source()), "keep_others": "on"})
        words = client.get(TEACH).content.decode()
        assert "Version 2" in words
        assert "a.ipynb" in words

    def test_the_source_can_be_downloaded_and_only_by_teachers(self, course: Course, grace: User, tim: User, as_user):
        made(as_user(grace), uploads=files(a__ipynb=source()))
        response = as_user(grace).get(f"{TEACH}versions/1/files/")
        assert response.content == source()
        assert as_user(tim).get(f"{TEACH}versions/1/files/").status_code == 403
        assert as_user(tim).get(f"{TEACH}versions/1/notebooks/a.ipynb").status_code == 403


class TestTheCheck:
    @pytest.fixture
    def teacher(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        made(client)
        return client

    def poll(self, client):
        return client.get(f"{TEACH}check/", headers={"HX-Request": "true"})

    def test_while_it_runs_the_page_asks_again(self, teacher):
        checked(Check.RUNNING, release_state=Release.State.CHECKING, done=1, total=3)
        words = self.poll(teacher).content.decode()
        assert "hx-trigger" in words
        assert "1 of 3 notebooks" in words

    def test_when_it_has_ended_the_whole_path_is_told(self, teacher):
        checked()
        response = self.poll(teacher)
        words = response.content.decode()
        assert response["HX-Retarget"] == "#path"
        assert "hx-trigger" not in words
        assert "full marks" in words
        assert "Publish…" in words

    def test_full_marks_are_not_claimed_where_no_test_gives_points(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        made(client, uploads=files(a__ipynb=nbformat.writes(new_notebook(cells=[new_code_cell("1 + 1")])).encode()))
        checked()
        words = client.get(TEACH).content.decode()
        assert "Your solution ran to its end. No test gives points here." in words
        assert "full marks" not in words

    def test_a_failed_test_is_shown_with_what_it_said(self, teacher):
        result = {
            "notebook": "a",
            "grade_id": "tests",
            "score": 0.0,
            "max_score": 2.0,
            "passed": False,
            "output": "Boom",
        }
        checked(Check.FAILED, results=[result])
        words = teacher.get(TEACH).content.decode()
        assert "does not get full marks" in words
        assert "0 of 2" in words
        assert "Boom" in words

    def test_a_notebook_that_could_not_run_says_why(self, teacher):
        failure = {"failure": {"code": "kernel_exited", "notebook": "a", "params": {}, "detail": ""}}
        checked(Check.FAILED, results=[failure])
        assert "The code ended the kernel" in teacher.get(TEACH).content.decode()

    def test_without_a_script_there_is_a_link(self, teacher):
        assert "<noscript>" in teacher.get(TEACH).content.decode()
        assert teacher.get(f"{TEACH}check/").url == TEACH

    def test_it_can_be_run_again(self, teacher):
        checked(Check.ERROR)
        teacher.post(f"{TEACH}check/again/")
        assert Release.objects.order_by("-number")[0].number == 2

    def test_an_upload_queues_the_check_once_it_is_committed(
        self, course: Course, grace: User, as_user, monkeypatch, django_capture_on_commit_callbacks
    ):
        queued: list[tuple[str, int]] = []
        monkeypatch.setattr("classroom.wake.send", lambda *task: queued.append(task))
        with django_capture_on_commit_callbacks(execute=True):
            made(as_user(grace))
        assert queued == [("check_release", Release.objects.get().pk)]


class TestPublishing:
    @pytest.fixture
    def teacher(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        made(client)
        checked()
        return client

    def test_it_says_what_will_happen_to_how_many(self, teacher):
        words = teacher.get(f"{TEACH}publish/").content.decode()
        assert "5 students see it on the course page" in words
        assert "It counts 5 points" in words

    def test_now(self, teacher, ada: User, as_user):
        teacher.post(f"{TEACH}publish/", {"when": "now", "due_at": "2099-01-01T18:00"})
        assignment = Assignment.objects.get()
        assert (assignment.state, assignment.due_at) == (State.OPEN, datetime(2099, 1, 1, 17, 0, tzinfo=UTC))
        assert "Arrays" in as_user(ada).get("/c/data/").content.decode()

    def test_at_a_time(self, teacher, ada: User, as_user):
        teacher.post(f"{TEACH}publish/", {"when": "at", "publish_at": "2098-01-01T08:00", "due_at": "2099-01-01T18:00"})
        assert Assignment.objects.get().state == State.SCHEDULED
        assert "Arrays" not in as_user(ada).get("/c/data/").content.decode()
        words = teacher.get(TEACH).content.decode()
        assert "will be published" in words
        teacher.post(f"{TEACH}move/", {"act": "unschedule"})
        assert Assignment.objects.get().state == State.DRAFT

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"when": "at"}, "Say when."),
            ({"when": "at", "publish_at": "2001-01-01T08:00"}, "This time has passed"),
            ({"when": "now", "due_at": "2001-01-01T08:00"}, "due before students have it"),
            ({"when": "at", "publish_at": "2099-02-01T08:00", "due_at": "2099-01-01T08:00"}, "due before students"),
            ({"when": "now", "due_at": "2099-02-01T08:00", "closes_at": "2099-01-01T08:00"}, "close before it is due"),
            ({"when": "now", "due_at": "tomorrow"}, "Enter a valid date/time"),
        ],
    )  # fmt: skip
    def test_dates_that_make_no_sense_are_refused(self, teacher, body: dict[str, str], words: str):
        page = teacher.post(f"{TEACH}publish/", body)
        assert page.status_code == 422
        assert words in page.content.decode()
        assert Assignment.objects.get().state == State.DRAFT

    def test_a_time_that_happens_twice_is_said(self, teacher):
        page = teacher.post(f"{TEACH}publish/", {"when": "now", "due_at": "2099-10-25T02:30"}, follow=True)
        assert "go back on 25 October 2099" in page.content.decode()
        assert Assignment.objects.get().due_at == datetime(2099, 10, 25, 1, 30, tzinfo=UTC)

    def test_without_full_marks_it_wants_a_tick(self, teacher):
        checked(Check.FAILED)
        assert teacher.post(f"{TEACH}publish/", {"when": "now"}).status_code == 422
        assert teacher.post(f"{TEACH}publish/", {"when": "now", "anyway": "on"}).status_code == 302
        assert Assignment.objects.get().state == State.OPEN

    def test_a_new_version_says_who_keeps_the_old_one(self, teacher, ada: User, ben: User, as_user):
        teacher.post(f"{TEACH}publish/", {"when": "now"})
        handed_in(Assignment.objects.get(), ada)
        work_of(Assignment.objects.get(), ben)
        teacher.post(f"{TEACH}upload/", {"uploads": files(a__ipynb=source())})
        checked()
        words = " ".join(teacher.get(f"{TEACH}publish/").content.decode().split())
        assert "3 students who have not opened it get the new version" in words
        assert "2 students have opened an earlier version and keep it" in words
        assert "1 has handed in" in words

    def test_of_a_version_that_students_have_only_the_dates_change(self, teacher):
        teacher.post(f"{TEACH}publish/", {"when": "now"})
        words = teacher.get(f"{TEACH}publish/").content.decode()
        assert "only the dates change" in words
        assert 'name="when"' not in words
        page = teacher.post(f"{TEACH}publish/", {"due_at": "2099-01-01T18:00"}, follow=True)
        assert "The dates are saved." in page.content.decode()
        assert Assignment.objects.get().due_at == datetime(2099, 1, 1, 17, 0, tzinfo=UTC)
        assert Release.objects.count() == 1

    def test_closing_and_opening_again(self, teacher):
        teacher.post(f"{TEACH}publish/", {"when": "now"})
        teacher.post(f"{TEACH}move/", {"act": "close"})
        assert Assignment.objects.get().state == State.CLOSED
        teacher.post(f"{TEACH}move/", {"act": "reopen"})
        assert Assignment.objects.get().state == State.OPEN

    def test_a_tutorial_has_no_due_date_and_no_grading_steps(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        made(client, kind="tutorial", slug="tut", title="Tut")
        page = client.get("/c/data/a/tut/teach/").content.decode()
        assert "Marked" not in page
        form = client.get("/c/data/a/tut/teach/publish/").content.decode()
        assert "due_at" not in form
        client.post("/c/data/a/tut/teach/publish/", {"when": "now"})
        assert Assignment.objects.get(slug="tut").state == State.OPEN


class TestDiscarding:
    def test_a_draft_goes_with_everything_of_it(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        made(client)
        checked()
        client.post("/c/data/a/ps2/preview/")
        page = client.post(f"{TEACH}move/", {"act": "discard", "name": "ps2"}, follow=True)
        assert "is discarded" in page.content.decode()
        for model in (Assignment, LineItem, Release, ReleaseCheck, Work):
            assert not model.objects.exists()

    def test_it_wants_the_name(self, course: Course, grace: User, as_user):
        client = as_user(grace)
        made(client)
        page = client.post(f"{TEACH}move/", {"act": "discard", "name": "ps"}, follow=True)
        assert "That is not the name" in page.content.decode()
        assert Assignment.objects.exists()

    def test_what_students_have_seen_stays(self, ps1: Assignment, grace: User, as_user):
        page = as_user(grace).post("/c/data/a/ps1/teach/move/", {"act": "discard", "name": "ps1"}, follow=True)
        assert "Only a draft" in page.content.decode()
        assert Assignment.objects.exists()
        assert "Discard the draft" not in as_user(grace).get("/c/data/a/ps1/teach/settings/").content.decode()


def test_an_archived_course_is_found_again(course: Course, grace: User, ada: User, as_user):
    as_user(grace).post("/c/data/settings/archive/", {"name": "data"})
    for person in (grace, ada):
        words = as_user(person).get("/").content.decode()
        assert "1 archived course" in words
    assert as_user(ada).get("/c/data/").status_code == 200


BUDGETS = [
    ("/c/data/teach/", 10),
    ("/c/data/people/", 8),
    ("/c/data/gradebook/", 14),
    ("/c/data/a/ps1/teach/", 20),
    ("/c/data/a/ps1/teach/publish/", 16),
    ("/c/data/a/ps1/teach/settings/", 9),
    ("/c/data/order/", 10),
    ("/c/data/settings/", 5),
]


@pytest.mark.parametrize(("path", "most"), BUDGETS)
def test_pages_keep_to_their_number_of_queries_however_many_people(
    path: str, most: int, course: Course, ps1: Assignment, grace: User, ada: User, ben: User, as_user,
    django_assert_max_num_queries,
):  # fmt: skip
    graded(handed_in(ps1, ada))
    feedback.release([graded(handed_in(ps1, ben))], grace)
    for number in range(30):
        user = User.objects.create(username=f"s{number}", email=f"s{number}@example.org")
        Enrollment.objects.create(
            course=course, user=user, role=Enrollment.Role.STUDENT, section=course.sections.first()
        )
    for number in range(5):
        publish.create(course, slug=f"more{number}", title="More")
    client = as_user(grace)
    client.get(path)
    with django_assert_max_num_queries(most):
        assert client.get(path).status_code == 200


def test_what_a_student_may_not_see_is_not_there(ps1: Assignment, ada: User, mallory: User, as_user):
    for path in [path for path, _most in BUDGETS]:
        assert as_user(ada).get(path).status_code == 403
        assert as_user(mallory).get(path).status_code == 404


def test_an_extension_of_a_day_shows_as_due_in_the_students_list(ps1: Assignment, grace: User, ada: User, as_user):
    from classroom.extend import extend

    extend(ps1, ada, due_at=timezone.now() + timedelta(days=9, hours=1), reason="", by=grace)
    assert "in 9 days" in as_user(ada).get("/c/data/").content.decode()


def test_every_file_of_the_published_work_is_in_the_report(ps1: Assignment, grace: User, as_user):
    words = as_user(grace).get("/c/data/a/ps1/teach/").content.decode()
    assert PS1 in words
    assert DATA in words
