"""Who used what, for those who operate the site and for a course's teachers; and the same as CSV."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from classroom import discard, group, launch, publish
from classroom.launch import open_work
from classroom.models import Course, Enrollment
from classroom.people.models import User
from classroom.queries import accounts, usage
from classroom.queries.usage import By, Period
from grading.check import account_of, account_of_item
from runtimes.models import GIB, Profile, Runtime, Usage, Workspace
from tests.world import make_user

pytestmark = pytest.mark.django_db
HOUR = 3600
MOMENT = datetime(2026, 3, 10, 12, tzinfo=UTC)
MARCH = Period(date(2026, 3, 1), date(2026, 3, 31))
IN_MARCH = "since=2026-03-01&until=2026-03-31"


def words(response: Any) -> str:
    assert response.status_code in {200, 422}, response.status_code
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode()))


def used(workspace: Workspace | None, hours: float, *, at: datetime = MOMENT, **fields: Any) -> Usage:
    """A machine that was used for so long. Grading, where it is nobody's workspace."""
    profile = fields.pop("profile", None) or (workspace.profile if workspace else Profile.objects.get(slug="cpu"))
    account = fields.pop("account", None) or (workspace.account if workspace else "nobody")
    runtime = Runtime.objects.create(
        workspace=workspace, profile=profile, account=account, ready_at=at, state=Runtime.State.STOPPED,
        purpose=Runtime.Purpose.INTERACTIVE if workspace else Runtime.Purpose.GRADING,
    )  # fmt: skip
    wall = hours * HOUR
    amounts = {"cpu_seconds": 2 * wall, "cpu_used_seconds": wall / 2, "memory_gib_seconds": 4 * wall, **fields}
    return Usage.objects.create(runtime=runtime, account=account, wall_seconds=wall, **amounts)


@pytest.fixture
def cpu(db) -> Profile:
    return Profile.objects.create(slug="cpu", name="A computer", memory_bytes=4 * GIB)


@pytest.fixture
def elsewhere(mallory) -> Course:
    """A course of which nobody of the other one knows, with usage of its own."""
    course = Course.objects.create(slug="art", title="Art", created_by=mallory)
    Enrollment.objects.create(course=course, user=mallory, role=Enrollment.Role.TEACHER)
    return course


@pytest.fixture
def week(ps1, ada, ben, cpu, elsewhere):
    """Ada 3 hours, Ben 1; grading 2; in another course 5."""
    used(open_work(ps1, ada).workspace, 3)
    used(open_work(ps1, ben).workspace, 1)
    used(None, 2, account=account_of(ps1.release))
    used(None, 5, account=f"course:{elsewhere.pk}")
    return ps1


def hours(lines: Any) -> dict[str, float]:
    return {line.key: line.amounts.wall / HOUR for line in lines}


# --- what is counted


def test_a_course_has_what_its_people_and_its_grading_used(week, course, elsewhere):
    found = usage.report(MARCH, By.COURSE)
    assert hours(found.lines) == {"art": 5, course.slug: 6}
    [line] = [line for line in found.lines if line.key == course.slug]
    assert line.amounts.grading == 2 * HOUR
    assert (found.interactive.wall, found.grading.wall, found.total.wall) == (4 * HOUR, 7 * HOUR, 11 * HOUR)
    assert (found.total.cpu, found.total.used, found.total.memory) == (22 * HOUR, 5.5 * HOUR, 44 * HOUR)


def test_by_person_and_by_machine(week, ada, ben, ps1):
    assert hours(usage.report(MARCH, By.PERSON).lines) == {ada.email: 3, ben.email: 1}
    assert hours(usage.report(MARCH, By.MACHINE).lines) == {ps1.profile.slug: 4, "cpu": 7}


def test_a_teacher_is_told_of_one_course_only(week, course, ada, ben, elsewhere, mallory):
    found = usage.report(MARCH, By.PERSON, course)
    assert (found.interactive.wall, found.grading.wall) == (4 * HOUR, 2 * HOUR)
    assert hours(found.lines) == {ada.email: 3, ben.email: 1}
    assert hours(usage.report(MARCH, By.PERSON, elsewhere).lines) == {}
    assert hours(usage.report(MARCH, By.MACHINE, elsewhere).lines) == {"cpu": 5}


def test_what_a_group_used_is_divided_among_its_members(ps1, ada, ben, course):
    ps1.group_max = 2
    ps1.save()
    group.form(ps1, "one", [ada, ben])
    used(open_work(ps1, ada).workspace, 3)
    found = usage.report(MARCH, By.PERSON)
    assert hours(found.lines) == {ada.email: 1.5, ben.email: 1.5}
    assert found.of_nobody == 0


def test_what_somebody_did_before_they_began_again_is_said_to_be_nobodys(ps1, ada):
    work = open_work(ps1, ada)
    used(work.workspace, 3)
    launch._begin_again(work, work.release)
    used(work.workspace, 1)
    found = usage.report(MARCH, By.PERSON)
    assert hours(found.lines) == {ada.email: 1}
    assert found.of_nobody == 3 * HOUR


def test_what_checks_of_a_draft_used_stays_with_the_course_when_it_is_thrown_away(course, cpu):
    draft = publish.create(course, slug="oops", title="Oops", graded=True)
    used(None, 1, account=account_of_item(draft.line_item_id))
    discard.discard(draft)
    assert hours(usage.report(MARCH, By.COURSE).lines) == {course.slug: 1}
    assert accounts.of(course) == [f"course:{course.pk}"]


def test_what_belongs_to_no_course_has_its_account_for_a_name(cpu):
    used(None, 1, account="elsewhere")
    [line] = usage.report(MARCH, By.COURSE).lines
    assert (line.name, line.key) == ("elsewhere", "")


@pytest.mark.parametrize(
    ("moment", "counts"),
    [
        ("2026-02-28 23:59:59+01:00", False),
        ("2026-03-01 00:00:00+01:00", True),
        # Summer time began on 29 March.
        ("2026-03-31 23:59:59+02:00", True),
        ("2026-04-01 00:00:00+02:00", False),
    ],
)
def test_a_day_begins_and_ends_in_the_time_zone_of_the_page(cpu, moment, counts):
    used(None, 1, at=datetime.fromisoformat(moment))
    with timezone.override("Europe/Paris"):
        assert bool(usage.report(MARCH, By.MACHINE).lines) is counts


def test_periods_that_are_asked_for_by_name():
    found = usage.presets(date(2026, 1, 1))
    assert found["week"] == Period(date(2025, 12, 29), date(2026, 1, 1))
    assert found["month"] == Period(date(2026, 1, 1), date(2026, 1, 1))
    assert found["last-month"] == Period(date(2025, 12, 1), date(2025, 12, 31))


# --- the page


@pytest.fixture
def admin(root, as_user):
    return as_user(root)


def test_whoever_may_operate_the_site_sees_it_and_nobody_else(week, tim, grace, as_user):
    assert as_user(grace).get("/operate/usage/").status_code == 403
    assert as_user(grace).get("/operate/usage/export.csv").status_code == 403
    tim.user_permissions.add(Permission.objects.get(codename="operate"))
    assert "Usage" in words(as_user(tim).get("/operate/usage/"))


def test_it_shows_this_month_unless_another_period_is_asked_for(week, admin):
    assert "Nothing was used in this period" in words(admin.get("/operate/usage/"))
    used(None, 1, at=timezone.now())
    page = words(admin.get("/operate/usage/"))
    assert "Nothing was used" not in page
    assert "Together 1.0 0.5 2.0 4.0 0.0" in page
    assert "Together 11.0 5.5 22.0 44.0 0.0" in words(admin.get(f"/operate/usage/?{IN_MARCH}"))


def test_a_period_that_ends_before_it_begins_is_refused_and_what_was_typed_is_kept(week, admin):
    answer = admin.get("/operate/usage/?since=2026-03-31&until=2026-03-01&words=ada&by=person")
    assert answer.status_code == 422
    assert "This is before the first day." in words(answer)
    page = answer.content.decode()
    for kept in ('value="2026-03-31"', 'value="2026-03-01"', 'value="ada"', 'name="by" value="person"'):
        assert kept in page
    assert admin.get("/operate/usage/export.csv?since=2026-03-31&until=2026-03-01").status_code == 422


@pytest.mark.parametrize("asked", ["since=x&until=y", "since=&until=2026-03-01", "since=0001-01-01&until=9999-12-31"])
def test_what_is_no_period_is_refused(week, admin, asked):
    assert admin.get(f"/operate/usage/?{asked}").status_code == 422


def test_lines_are_put_in_order_by_the_heads_of_their_columns(week, admin, ada, ben):
    def order(asked: str) -> list[str]:
        return re.findall(r"ada@\S+|ben@\S+", words(admin.get(f"/operate/usage/?{IN_MARCH}&by=person{asked}")))

    assert order("") == order("&order=-wall") == order("&order=name") == [ada.email, ben.email]
    assert order("&order=wall") == order("&order=-name") == [ben.email, ada.email]
    page = admin.get(f"/operate/usage/?{IN_MARCH}&by=person&order=nonsense").content.decode()
    assert page.count("aria-sort=") == 1
    assert re.search(r'aria-sort="descending"><a href="[^"]*order=wall#lines">', page)
    assert re.search(r'<a href="[^"]*order=name#lines">Person', page)


def test_a_person_is_found_by_name_or_email(week, admin, ada, ben):
    page = words(admin.get(f"/operate/usage/?{IN_MARCH}&by=person&words={ada.email[:5].upper()}"))
    assert ada.email in page
    assert ben.email not in page
    assert "Nobody and nothing of that name" in words(admin.get(f"/operate/usage/?{IN_MARCH}&by=person&words=zzz"))


def test_many_people_are_on_several_pages(ps1, admin, course):
    section = course.sections.get(name="A")
    for number in range(51):
        user = make_user(f"student{number}")
        Enrollment.objects.create(course=course, user=user, role=Enrollment.Role.STUDENT, section=section)
        used(open_work(ps1, user).workspace, 1)
    address = f"/operate/usage/?{IN_MARCH}&by=person&order=name"
    assert words(admin.get(address)).count("@example.org") == 1 + 50
    page = words(admin.get(f"{address}&page=2"))
    assert page.count("@example.org") == 1 + 1
    assert "2 of 2" in page


def test_what_was_not_measured_is_not_said_to_be_nothing(cpu, admin, ps1, ada, ben):
    used(open_work(ps1, ada).workspace, 3, cpu_used_seconds=None)
    assert "Together 3.0 not known 6.0" in words(admin.get(f"/operate/usage/?{IN_MARCH}"))
    [row] = list(rows(admin.get(f"/operate/usage/export.csv?{IN_MARCH}")))
    assert (row["processor_hours_used"], row["unmeasured_hours"]) == ("", "3.0")
    used(open_work(ps1, ben).workspace, 1)
    assert "Together 4.0 at least 0.5 8.0" in words(admin.get(f"/operate/usage/?{IN_MARCH}"))


def test_of_a_gpu_that_is_shared_it_says_how_it_is_counted(week, admin):
    assert "an hour on one that four share is a quarter of a GPU hour" in words(
        admin.get(f"/operate/usage/?{IN_MARCH}")
    )


def test_a_teacher_sees_their_own_course_and_no_other(week, course, grace, tim, elsewhere, as_user):
    client = as_user(grace)
    page = words(client.get(f"/c/{course.slug}/usage/?{IN_MARCH}&by=course"))
    assert "Together 6.0 3.0 12.0 24.0 0.0" in page
    assert "Ada" in page
    assert "Art" not in page
    assert client.get(f"/c/{elsewhere.slug}/usage/").status_code == 404
    assert client.get(f"/c/{elsewhere.slug}/usage/export.csv").status_code == 404
    assert as_user(tim).get(f"/c/{course.slug}/usage/").status_code == 403


# --- as CSV


def rows(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.content.decode().removeprefix("\ufeff"))))


def test_the_csv_has_the_lines_of_the_page_and_none_that_a_spreadsheet_would_run(week, admin, ada, ben):
    User.objects.filter(pk=ada.pk).update(display_name='=HYPERLINK("x")')
    answer = admin.get(f"/operate/usage/export.csv?{IN_MARCH}&by=person&page=7")
    assert 'filename="usage-by-person-2026-03-01-2026-03-31.csv"' in answer["Content-Disposition"]
    first, second = rows(answer)
    assert (first["name"], first["email"]) == ('\'=HYPERLINK("x")', ada.email)
    assert (first["hours"], first["processor_hours_used"], first["gpu_hours"]) == ("3.0", "1.5", "0.0")
    assert second["email"] == ben.email


def test_a_teachers_csv_has_their_course(week, course, grace, as_user):
    found = rows(as_user(grace).get(f"/c/{course.slug}/usage/export.csv?{IN_MARCH}&by=machine"))
    assert {row["short_name"]: row["grading_hours"] for row in found} == {week.profile.slug: "0.0", "cpu": "2.0"}
