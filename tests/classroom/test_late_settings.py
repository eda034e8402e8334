"""A teacher's own table of late penalties: read, refused with a reason, said in words and shown by example."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.forms import ValidationError
from django.http import QueryDict

from classroom.forms_late import StepsField, StepsWidget
from classroom.models import Assignment
from classroom.people.models import User
from grading.models import LineItem

URL = "/c/data/a/ps1/teach/settings/"


def typed(*rows: tuple[str, str, str, str]) -> list[dict[str, str]]:
    return [dict(zip(("until", "unit", "take", "of"), row, strict=True)) for row in rows]


def test_a_table_is_read_and_empty_lines_are_left_out() -> None:
    rows = typed(("1", "hours", "0", "percent"), ("", "hours", "", "percent"), ("3", "days", "2,50", "points"),
                 ("", "days", "100", "percent"))  # fmt: skip
    assert StepsField().clean(rows) == [
        {"until": 1, "unit": "hours", "take": "0", "of": "percent"},
        {"until": 3, "unit": "days", "take": "2.5", "of": "points"},
        {"until": None, "unit": "days", "take": "100", "of": "percent"},
    ]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("1", "hours", "101", "percent")], "Line 1: say what is taken"),
        ([("1", "hours", "-1", "points")], "Line 1: say what is taken"),
        ([("1", "hours", "", "percent")], "Line 1: say what is taken"),
        ([("1", "hours", "NaN", "percent")], "Line 1: say what is taken"),
        ([("1", "hours", "1e99", "points")], "Line 1: say what is taken"),
        ([("1.5", "hours", "1", "percent")], "whole number"),
        ([("0", "hours", "1", "percent")], "whole number"),
        ([("99999", "days", "1", "percent")], "whole number"),
        ([("²", "days", "1", "percent")], "whole number"),
        ([("1", "weeks", "1", "percent")], "choose a unit"),
        ([("1", "hours", "1", "__import__")], "choose a unit"),
        ([("", "hours", "1", "percent"), ("2", "hours", "3", "percent")], "only the last line"),
        ([("24", "hours", "1", "percent"), ("1", "days", "3", "percent")], "Line 2: the time must be longer"),
        ([("1", "hours", "9", "percent"), ("2", "hours", "3", "percent")], "Line 2: later work cannot lose less"),
        ([(str(n), "hours", "9", "percent") for n in range(1, 15)], "At most 12 lines"),
    ],
)
def test_a_line_that_cannot_hold_is_named(rows: list[Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        StepsField().clean(typed(*rows))


def test_what_was_typed_comes_back_as_it_was() -> None:
    data = QueryDict("s-until=1&s-unit=hours&s-take=x&s-of=percent")
    rows = StepsWidget().value_from_datadict(data, {}, "s")
    assert rows == typed(("1", "hours", "x", "percent"))
    assert 'value="x"' in StepsWidget().render("s", rows)


@pytest.fixture
def settings_form(ps1: Assignment, grace: User, as_user):
    """`settings_form(field=…)` sends the settings as they are, with these changed."""
    client = as_user(grace)

    def send(**changed: Any):
        form = client.get(URL).context["form"]
        body = {name: form[name].value() for name in form.fields}
        body = {name: value for name, value in body.items() if value is not None and value is not False}
        body["due_at"] = f"{body['due_at']:%Y-%m-%dT%H:%M}"
        return client.post(URL, body | changed)

    send.client = client
    return send


TABLE = {
    "late_policy": "custom", "late_steps-until": ["1", "24", ""], "late_steps-unit": ["hours", "hours", "days"],
    "late_steps-take": ["0", "10", "100"], "late_steps-of": ["percent", "percent", "percent"],
}  # fmt: skip


def test_a_table_is_kept_said_in_words_and_shown_by_example(ps1: Assignment, settings_form) -> None:
    Assignment.objects.update(due_at=datetime(2099, 6, 5, 16, tzinfo=UTC))
    assert settings_form(**TABLE).status_code == 302
    page = settings_form.client.get(URL).content.decode()
    assert "Late: up to 1 hour nothing; up to 24 hours −10 %; later −100 %." in page
    assert "<td>Sat 6 Jun 2099, 18:00</td><td>24 hours</td><td>−10 %</td>" in page
    assert "<td>Sat 6 Jun 2099, 18:01</td><td>24 hours 1 minute</td><td>−100 %</td>" in page
    item = LineItem.objects.get(pk=ps1.line_item_id)
    assert [row["take"] for row in item.late_steps] == ["0", "10", "100"]


def test_a_policy_of_ones_own_needs_a_line(ps1: Assignment, settings_form) -> None:
    answer = settings_form(late_policy="custom")
    assert answer.status_code == 422
    assert "Write at least one line" in answer.content.decode()


def test_cap_and_floor_are_kept_and_can_be_taken_away(ps1: Assignment, settings_form) -> None:
    settings_form(late_policy="per_day", late_cap_percent="50", late_floor_percent="20")
    assert "at most −50 %, never below 20 % of the points" in settings_form.client.get(URL).content.decode()
    settings_form(late_cap_percent="", late_floor_percent="")
    item = LineItem.objects.get(pk=ps1.line_item_id)
    assert (item.late_cap_percent, item.late_floor_percent) == (None, None)


def test_days_follow_the_courses_time_zone_when_it_changes(ps1: Assignment, grace: User, as_user) -> None:
    assert LineItem.objects.get(pk=ps1.line_item_id).time_zone == "Europe/Paris"
    as_user(grace).post("/c/data/settings/", {"title": "Data", "term": "", "time_zone": "Asia/Tokyo"})
    assert LineItem.objects.get(pk=ps1.line_item_id).time_zone == "Asia/Tokyo"
