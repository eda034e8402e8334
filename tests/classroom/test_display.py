"""What every page has: words when something is wrong, the person's time zone, one h1, a policy that nothing breaks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.utils import timezone, translation
from django.views.defaults import bad_request, server_error

from classroom.models import Assignment, Course
from classroom.people.models import User
from classroom.templatetags import say


def test_a_page_that_is_not_there_says_what_to_do(client: Client, db: None):
    page = client.get("/nowhere/")
    assert page.status_code == 404
    assert "There is no such page" in page.content.decode()


def test_a_page_for_others_says_so(course: Course, ada: User, as_user):
    page = as_user(ada).get("/c/data/people/")
    assert page.status_code == 403
    assert "This page is not for you" in page.content.decode()


def test_a_form_that_is_out_of_date_says_so(ada: User):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    page = client.post("/profile/", {"display_name": "x"})
    assert page.status_code == 403
    assert "Nothing was changed" in page.content.decode()


def test_a_script_that_asks_while_signed_out_gets_no_page_in_place_of_a_piece(course: Course, client: Client):
    """The page that holds it says so; the sign-in page would have stood where the piece belongs."""
    piece = client.get("/c/data/", headers={"HX-Request": "true"})
    assert (piece.status_code, piece.content) == (401, b"")
    assert client.get("/c/data/")["Location"] == "/accounts/login/?next=/c/data/"


@pytest.mark.parametrize(
    ("page", "leads_to"),
    [
        ("http://testserver/c/data/people/add/?x=1", "/c/data/people/add/%3Fx%3D1"),
        ("https://elsewhere.example/c/data/", "/"),
        ("", "/"),
    ],
)
def test_a_form_that_was_sent_while_signed_out_is_told_of_and_leads_back_to_its_page(
    course: Course, client: Client, page: str, leads_to: str
):
    """Its own address would have answered 405 after signing in: an empty page of the browser's."""
    answer = client.post("/c/data/people/add/confirm/", {"text": "x"}, headers={"Referer": page})
    assert answer["Location"] == f"/accounts/login/?next={leads_to}"
    assert "so that was not done" in client.get(answer["Location"]).content.decode()


def test_an_address_for_forms_says_so_to_whoever_comes_to_read_there(course: Course, grace: User, as_user):
    answer = as_user(grace).get("/c/data/people/add/confirm/")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert "Nothing was changed" in answer.content.decode()


def test_a_page_has_the_words_for_what_its_scripts_did_not_get(course: Course, ada: User, as_user):
    page = as_user(ada).get("/c/data/?x=1").content.decode()
    assert "You are signed out" in page
    assert 'href="/accounts/login/?next=/c/data/%3Fx%3D1"' in page


def test_errors_of_ours_are_told_without_a_database():
    request = RequestFactory().get("/")
    assert b"went wrong on our side" in server_error(request).content
    assert "was not right" in bad_request(request, ValueError()).content.decode()


def test_every_script_and_style_passes_the_policy(ps1: Assignment, grace: User, as_user):
    page = as_user(grace).get("/c/data/a/ps1/teach/")
    words = page.content.decode()
    nonce = re.search(r"'nonce-([^']+)'", page["Content-Security-Policy"])[1]
    scripts = re.findall(r"<script[^>]*>", words)
    assert scripts
    assert all("src=" in script and f'nonce="{nonce}"' in script for script in scripts)
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style", words)


COURSE_PAGES = [f"/c/data/{name}" for name in ("", "teach/", "people/", "gradebook/", "settings/")]


@pytest.mark.parametrize("path", ["/", "/profile/", "/patterns/", *COURSE_PAGES])
def test_every_page_says_where_and_who_one_is(path: str, ps1: Assignment, grace: User, as_user):
    words = as_user(grace).get(path).content.decode()
    assert len(re.findall(r"<h1[ >]", words)) == 1
    for part in ('class="skip"', 'aria-label="Where I am"', "Grace", 'name="language"', 'name="theme"', 'id="main"'):
        assert part in words


def test_times_are_said_in_the_persons_zone_else_in_the_courses(ps1: Assignment, ada: User, ben: User, as_user):
    Assignment.objects.update(due_at=datetime(2099, 1, 1, 17, 0, tzinfo=UTC))
    User.objects.filter(pk=ben.pk).update(time_zone="Asia/Tokyo")
    assert "Thu 1 Jan 2099, 18:00" in as_user(ada).get("/c/data/").content.decode()
    words = as_user(ben).get("/c/data/").content.decode()
    assert "Fri 2 Jan 2099, 02:00" in words
    assert "Asia/Tokyo" in words


def test_a_zone_of_one_request_is_not_that_of_the_next(ps1: Assignment, ben: User, as_user, client: Client):
    User.objects.filter(pk=ben.pk).update(time_zone="Asia/Tokyo")
    as_user(ben).get("/c/data/")
    assert timezone.get_current_timezone_name() == "UTC"


class TestSaying:
    @pytest.mark.parametrize(
        ("apart", "words"),
        [
            (timedelta(days=3, hours=1), "in 3 days"),
            (timedelta(hours=30, seconds=30), "in 30 hours"),
            (timedelta(minutes=5, seconds=30), "in 5 minutes"),
            (timedelta(seconds=10), "now"),
            (timedelta(minutes=-1, seconds=-30), "1 minute ago"),
            (timedelta(days=-9), "9 days ago"),
        ],
    )
    def test_distances_as_people_say_them(self, apart: timedelta, words: str):
        assert say.distance(timezone.now() + apart) == words

    @pytest.mark.parametrize(
        ("value", "words"),
        [(Decimal("8.5000"), "8.5"), (Decimal(10), "10"), (Decimal("0.6667"), "0.67"), (None, "–"), (2.0, "2")],
    )  # fmt: skip
    def test_points_without_needless_zeros(self, value, words: str):
        assert say.points(value) == words

    def test_a_french_month_is_written_small(self):
        with translation.override("fr"):
            assert say.said(datetime(2099, 1, 5, 17, 0, tzinfo=UTC)) == "lun 5 jan 2099, 17:00"

    def test_points_in_french_have_a_comma(self):
        with translation.override("fr"):
            assert say.points(Decimal("8.5")) == "8,5"

    @pytest.mark.parametrize(
        ("count", "words"), [(512, "512 B"), (2048, "2.0 KB"), (3565158, "3.4 MB"), (5 << 40, "5120 GB")]
    )
    def test_sizes(self, count: int, words: str):
        assert say.size(count) == words

    def test_a_name_of_a_person_is_text(self):
        words = render_to_string("parts/notice.html", {"kind": "good", "text": "<script>"})
        assert "<script>" not in words
