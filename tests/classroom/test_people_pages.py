"""The people of a course, through its pages."""

from __future__ import annotations

import csv
import io
import re
import runpy
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from classroom.management.commands.serve import server_config
from classroom.models import Assignment, Course, Enrollment, Extension, Outbox
from classroom.people.models import Invitation, User
from classroom.places import CHECKOUT
from tests.world import PASSWORD

Role, State = Enrollment.Role, Enrollment.State
LIST = "email,name,role,section\nfran@example.org,Fran,student,A\nada@example.org,,student,B\nwrong,X,student,A\n"


def preview(client, text: str = LIST, **more):
    return client.post("/c/data/people/add/", {"text": text, **more})


def hidden(page) -> dict[str, str]:
    form = page.context["form"]
    return {"text": form["text"].value(), "digest": form["digest"].value()}


def test_a_pasted_list_is_previewed_and_nothing_is_applied(course: Course, grace: User, as_user):
    page = preview(as_user(grace))
    words = page.content.decode()
    assert "1 person joins" in words
    assert "1 person changes role or section" in words
    assert "1 line is wrong" in words
    assert "“wrong” is not an email address." in words
    assert "4 students are in the course but not in the list" in words
    assert not User.objects.filter(email="fran@example.org").exists()


def test_an_uploaded_file_is_previewed_whatever_its_encoding(course: Course, grace: User, as_user):
    file = SimpleUploadedFile("class.csv", "email;name\nfran@example.org;Éloïse\n".encode("cp1252"))
    words = as_user(grace).post("/c/data/people/add/", {"file": file}).content.decode()
    assert "Éloïse" in words
    assert "Windows-1252" in words


def test_confirming_applies_and_invites_by_mail(course: Course, grace: User, as_user):
    client = as_user(grace)
    response = client.post("/c/data/people/add/confirm/", hidden(preview(client)) | {"mail": "on"}, follow=True)
    assert "1 person joined, 1 moved, 1 invitation is on its way." in response.content.decode()
    assert Outbox.objects.get().kind == "invitation"


def test_confirming_without_mail_sends_nothing(course: Course, grace: User, as_user):
    client = as_user(grace)
    client.post("/c/data/people/add/confirm/", hidden(preview(client)))
    assert not Outbox.objects.exists()


def test_confirming_twice_does_it_once(course: Course, grace: User, as_user):
    client = as_user(grace)
    body = hidden(preview(client)) | {"mail": "on"}
    for _click in range(2):
        assert client.post("/c/data/people/add/confirm/", body).status_code == 302
    assert Enrollment.objects.filter(user__email="fran@example.org").count() == 1
    assert Outbox.objects.count() == 1


def test_ticked_people_are_dropped_and_see_nothing_any_more(course: Course, grace: User, ben: User, as_user):
    client, going = as_user(grace), Enrollment.objects.get(user=ben)
    client.post("/c/data/people/add/confirm/", hidden(preview(client)) | {"drop": [going.pk]})
    assert as_user(ben).get("/c/data/").status_code == 404


def test_a_roster_that_changed_meanwhile_is_previewed_again(course: Course, grace: User, dan: User, as_user):
    client = as_user(grace)
    body = hidden(preview(client)) | {"drop": [Enrollment.objects.get(user=dan).pk]}
    Enrollment.objects.filter(user__username="eve").update(state=State.DROPPED)
    response = client.post("/c/data/people/add/confirm/", body)
    assert "has changed since this preview" in response.content.decode()
    assert Enrollment.objects.get(user=dan).state == State.ACTIVE


def test_neither_or_both_of_text_and_file_are_refused(course: Course, grace: User, as_user):
    client = as_user(grace)
    assert preview(client, text="").status_code == 422
    assert preview(client, file=SimpleUploadedFile("c.csv", b"email\n")).status_code == 422


def test_names_cannot_write_into_the_page(course: Course, grace: User, as_user):
    words = preview(as_user(grace), text="email,name\nx@example.org,<script>alert(1)</script>\n").content.decode()
    assert "<script>alert" not in words


def test_the_export_can_be_read_back_in_and_runs_no_formula(course: Course, grace: User, ada: User, as_user):
    User.objects.filter(pk=ada.pk).update(display_name="=HYPERLINK(1)")
    client = as_user(grace)
    text = client.get("/c/data/people/export.csv").content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["name"] for row in rows if row["email"] == "ada@example.org"} == {"'=HYPERLINK(1)"}
    assert "The list changes nothing." in preview(client, text=text).content.decode()


def test_the_sheet_to_print_has_a_link_for_each_who_waits(course: Course, grace: User, as_user):
    client = as_user(grace)
    client.post("/c/data/people/add/confirm/", hidden(preview(client)))
    page = client.post("/c/data/people/invitations/", {"how": "print"})
    assert len(re.findall(r"/join/(?:[2-9A-Z]{4}-){3}[2-9A-Z]{4}/", page.content.decode())) == 1
    assert Invitation.objects.count() == 1
    assert "no-store" in page["Cache-Control"]


def test_a_role_and_a_section_are_changed_at_the_person(course: Course, grace: User, ada: User, as_user):
    one = Enrollment.objects.get(user=ada)
    as_user(grace).post(f"/c/data/people/{one.pk}/", {"role": "ta", "section_name": "New"})
    one.refresh_from_db()
    assert (one.role, one.section.name) == (Role.TA, "New")


def test_teachers_cannot_demote_themselves(course: Course, grace: User, as_user):
    one = Enrollment.objects.get(user=grace)
    page = as_user(grace).post(f"/c/data/people/{one.pk}/", {"role": "student", "section_name": ""})
    assert "your own role" in page.content.decode()
    one.refresh_from_db()
    assert one.role == Role.TEACHER


def test_somebody_taken_out_can_be_brought_back(course: Course, grace: User, ada: User, as_user):
    one, client = Enrollment.objects.get(user=ada), as_user(grace)
    client.post(f"/c/data/people/{one.pk}/drop/")
    assert as_user(ada).get("/c/data/").status_code == 404
    client.post(f"/c/data/people/{one.pk}/drop/", {"how": "return"})
    assert as_user(ada).get("/c/data/").status_code == 200


def test_a_person_of_another_course_is_not_found(course: Course, grace: User, mallory: User, as_user):
    other = Course.objects.create(slug="other", title="Other", created_by=mallory)
    theirs = Enrollment.objects.create(course=other, user=mallory, role=Role.TEACHER)
    client = as_user(grace)
    assert client.get(f"/c/data/people/{theirs.pk}/").status_code == 404
    assert client.post(f"/c/data/people/{theirs.pk}/drop/").status_code == 404


class TestExtensions:
    @pytest.fixture
    def one(self, ps1: Assignment, ada: User) -> Enrollment:
        Assignment.objects.update(due_at=datetime(2027, 1, 15, 17, 0, tzinfo=UTC))
        return Enrollment.objects.get(user=ada)

    def give(self, client, one: Enrollment, assignment: Assignment, due: str):
        body = {"assignment": assignment.pk, "due_at": due, "reason": "ill"}
        return client.post(f"/c/data/people/{one.pk}/extension/", body)

    def test_one_is_given_in_the_courses_time_zone(self, one, ps1: Assignment, grace: User, as_user):
        self.give(as_user(grace), one, ps1, "2027-02-01T18:00")
        assert Extension.objects.get().due_at == datetime(2027, 2, 1, 17, 0, tzinfo=UTC)

    def test_a_second_one_replaces_the_first(self, one, ps1: Assignment, grace: User, as_user):
        client = as_user(grace)
        self.give(client, one, ps1, "2027-02-01T18:00")
        self.give(client, one, ps1, "2027-02-02T18:00")
        assert Extension.objects.get().due_at.day == 2

    def test_one_that_is_no_extension_is_refused(self, one, ps1: Assignment, grace: User, as_user):
        assert self.give(as_user(grace), one, ps1, "2027-01-10T18:00").status_code == 422
        assert not Extension.objects.exists()

    def test_it_can_be_taken_back(self, one, ps1: Assignment, grace: User, as_user):
        client = as_user(grace)
        self.give(client, one, ps1, "2027-02-01T18:00")
        client.post(f"/c/data/people/{one.pk}/extension/{Extension.objects.get().pk}/back/")
        assert not Extension.objects.exists()

    def test_a_time_that_the_clocks_skip_is_said(self, one, ps1: Assignment, grace: User, as_user):
        client = as_user(grace)
        self.give(client, one, ps1, "2027-03-28T02:30")
        page = client.get(f"/c/data/people/{one.pk}/")
        assert "go forward on 28 March 2027" in page.content.decode()


def test_the_page_says_who_has_not_come_yet(course: Course, grace: User, as_user):
    client = as_user(grace)
    client.post("/c/data/people/add/confirm/", hidden(preview(client)))
    assert "1 has not come yet" in client.get("/c/data/people/").content.decode()


def test_a_visit_is_noted_and_lets_the_invited_in(course: Course, ada: User, as_user):
    Enrollment.objects.filter(user=ada).update(state=State.INVITED)
    as_user(ada).get("/c/data/")
    one = Enrollment.objects.get(user=ada)
    assert one.state == State.ACTIVE
    assert timezone.now() - one.last_seen_at < timedelta(minutes=1)


def test_the_profile_changes_name_language_and_theme(ada: User, as_user):
    client = as_user(ada)
    client.post("/profile/", {"display_name": "Ada L.", "language": "fr", "time_zone": "Asia/Tokyo", "theme": "dark"})
    ada.refresh_from_db()
    assert (ada.display_name, ada.language, ada.time_zone, ada.theme) == ("Ada L.", "fr", "Asia/Tokyo", "dark")
    page = client.get("/profile/").content.decode()
    assert 'lang="fr"' in page
    assert 'data-theme="dark"' in page


def test_theme_and_language_are_kept_also_without_an_account(client, db: None):
    client.post("/display/theme/", {"theme": "dark", "next": "/accounts/login/"})
    client.post("/display/language/", {"language": "fr"})
    page = client.get("/accounts/login/").content.decode()
    assert 'lang="fr"' in page
    assert 'data-theme="dark"' in page


def test_the_way_back_leads_nowhere_else(client, db: None):
    response = client.post("/display/theme/", {"theme": "dark", "next": "https://evil.example/"})
    assert response.url == "/"


@pytest.fixture
def nobody_tried():
    """Rate limits count in the cache, which outlives a test."""
    cache.clear()
    yield
    cache.clear()


def sign_in(password: str, login: str = "ada", forwarded: str = "") -> int:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    return Client().post("/accounts/login/", {"login": login, "password": password}, headers=headers).status_code


def test_a_class_behind_one_address_signs_in_within_the_same_minute(ada, nobody_tried):
    assert {sign_in(PASSWORD) for _ in range(60)} == {302}


def test_guessing_a_password_is_stopped_after_a_few_tries(ada, nobody_tried):
    assert sign_in("not it") == 200
    for _ in range(6):
        sign_in("not it either")
    assert sign_in(PASSWORD) != 302


ONE, ANOTHER = "203.0.113.7", "198.51.100.8"


def run_with(settings, monkeypatch, **environment: str) -> None:
    """The site started in that environment, as far as addresses go."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = runpy.run_path(str(CHECKOUT / "classroom" / "settings.py"))
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = made["ALLAUTH_TRUSTED_PROXY_COUNT"]


def guess_ten_times(sent: str) -> None:
    """Ten wrong passwords of as many people. sent: the header of each, with the number of the try for `{n}`."""
    for n in range(10):
        assert sign_in("not it", f"p{n}", sent.format(whose=ONE, n=n)) == 200


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        ({"BEHIND_PROXY": "1"}, "{whose}"),
        # What somebody sends along stands before what the proxy adds.
        ({"BEHIND_PROXY": "1"}, "10.0.0.{n}, {whose}"),
        ({"BEHIND_PROXY": "1", "PROXIES": "2"}, "10.0.0.{n}, {whose}, 192.0.2.1"),
    ],
)
def test_behind_a_proxy_who_guesses_shuts_out_nobody_elsewhere(
    ada, nobody_tried, settings, monkeypatch, environment, sent
):
    run_with(settings, monkeypatch, **environment)
    guess_ten_times(sent)
    assert sign_in(PASSWORD, forwarded=sent.format(whose=ONE, n=10)) == 200
    assert sign_in(PASSWORD, forwarded=sent.format(whose=ANOTHER, n=10)) == 302


@pytest.mark.parametrize("environment", [{}, {"BEHIND_PROXY": "1", "PROXIES": "0"}])
def test_without_a_proxy_nobody_chooses_an_address(ada, nobody_tried, settings, monkeypatch, environment):
    run_with(settings, monkeypatch, **environment)
    guess_ten_times("203.0.113.{n}")
    assert sign_in(PASSWORD, forwarded=ANOTHER) == 200


def test_the_server_leaves_a_proxys_headers_to_the_settings(settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    config = server_config("127.0.0.1", 0)
    config.load()
    assert not isinstance(config.loaded_app, ProxyHeadersMiddleware)
