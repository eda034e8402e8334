"""The gradebook: what counts of everyone, how it is spread, and the same as CSV."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal

import pytest

from classroom.histogram import histogram
from classroom.models import Assignment, Enrollment
from classroom.people.models import User
from grading.models import Submission
from tests.classroom.work import graded, handed_in


def test_it_shows_scores_states_and_who_has_nothing(ps1: Assignment, grace: User, ada: User, ben: User, as_user):
    done = graded(handed_in(ps1, ada))
    Submission.objects.filter(pk=done.pk).update(state=Submission.State.REVIEWED)
    graded(handed_in(ps1, ben))
    words = as_user(grace).get("/c/data/gradebook/").content.decode()
    assert f"/review/{done.code}/" in words
    assert "to mark" in words
    assert words.count("none") == 3


def test_tas_see_their_section(ps1: Assignment, tess: User, ada: User, as_user):
    words = as_user(tess).get("/c/data/gradebook/").content.decode()
    assert "Dan" in words
    assert "Ada" not in words


def test_the_csv_has_numbers_and_escapes_names(ps1: Assignment, grace: User, ada: User, as_user):
    User.objects.filter(pk=ada.pk).update(display_name="@SUM(1)")
    done = graded(handed_in(ps1, ada))
    Submission.objects.filter(pk=done.pk).update(state=Submission.State.REVIEWED)
    text = as_user(grace).get("/c/data/gradebook/export.csv").content.decode("utf-8-sig")
    rows = {row["email"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows["ada@example.org"]["name"] == "'@SUM(1)"
    assert float(rows["ada@example.org"]["ps1"]) == 2
    assert rows["dan@example.org"]["ps1"] == ""
    assert float(rows[""]["ps1"]) == 5


def test_students_have_no_gradebook(ps1: Assignment, ada: User, as_user):
    assert as_user(ada).get("/c/data/gradebook/").status_code == 403


def test_a_name_opens_the_person_for_those_who_may(ps1: Assignment, grace: User, tim: User, ada: User, as_user):
    person = Enrollment.objects.get(user=ada)
    link = f'href="/c/data/people/{person.pk}/"'
    assert link in as_user(grace).get("/c/data/gradebook/").content.decode()
    assert link not in as_user(tim).get("/c/data/gradebook/").content.decode()


def test_the_chart_counts_only_scores_that_are_final(ps1: Assignment, grace: User, ada: User, ben: User, as_user):
    client = as_user(grace)
    assert "Nobody has a score yet." in client.get("/c/data/gradebook/").content.decode()
    Submission.objects.filter(pk=graded(handed_in(ps1, ada)).pk).update(state=Submission.State.REVIEWED)
    graded(handed_in(ps1, ben))
    words = client.get("/c/data/gradebook/").content.decode()
    assert "1 scored · median 40 % · mean 40 %" in words
    assert re.search(r'<svg class="chart"[^>]*role="img"[^>]*><title [^>]*>Problem set ps1: how many students', words)
    assert re.search(r'<th scope="row">40–50</th><td class="num">1</td>', words)


class TestHistogram:
    def test_a_part_holds_its_lower_end_and_full_marks_are_in_the_last(self):
        made = histogram([Decimal(0), Decimal("0.1"), Decimal("0.19"), Decimal(1)])
        assert made is not None
        assert [bar.count for bar in made.bars] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
        assert (made.bars[1].low, made.bars[1].high) == (10, 20)

    def test_extra_credit_has_a_part_of_its_own(self):
        made = histogram([Decimal("1.2"), Decimal("0.5")])
        assert made is not None
        assert (made.bars[-1].low, made.bars[-1].high, made.bars[-1].count) == (100, None, 1)
        assert made.width == 330

    def test_less_than_nothing_counts_as_nothing(self):
        made = histogram([Decimal("-0.4")])
        assert made is not None
        assert made.bars[0].count == 1

    @pytest.mark.parametrize(("shares", "median", "mean"), [(["0.5"], 50, 50), (["0", "0.4", "0.5"], 40, 30)])
    def test_median_and_mean_are_per_cent(self, shares: list[str], median: int, mean: int):
        made = histogram(map(Decimal, shares))
        assert made is not None
        assert (made.scored, made.median, made.mean) == (len(shares), median, mean)

    def test_one_among_many_is_still_seen(self):
        made = histogram([Decimal("0.95")] * 500 + [Decimal(0)])
        assert made is not None
        assert made.bars[0].height == 2
        assert made.bars[9].height == 80

    def test_without_scores_there_is_none(self):
        assert histogram([]) is None
