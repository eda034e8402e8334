"""Wall-clock times where the clocks change, in zones that do it differently."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from classroom.forms_time import LocalDateTimeField
from classroom.local_time import Kind, meant


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_an_ordinary_time_is_that_time_in_the_zone():
    found = meant(at("2026-11-27T18:00"), "Europe/Paris", later=True)
    assert found.moment == datetime(2026, 11, 27, 17, 0, tzinfo=UTC)
    assert (found.kind, found.note) == (Kind.ONCE, "")


def test_the_same_wall_clock_before_and_after_the_change_differs_by_an_hour():
    before = meant(at("2026-10-24T18:00"), "Europe/Paris", later=True).moment
    after = meant(at("2026-10-25T18:00"), "Europe/Paris", later=True).moment
    assert after - before == timedelta(hours=25)


def test_a_time_that_is_skipped_moves_on_with_the_clock_and_says_so():
    found = meant(at("2026-03-29T02:30"), "Europe/Paris", later=True)
    assert found.moment == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert found.kind == Kind.GAP
    assert "03:30" in found.note
    assert "UTC+02:00" in found.note


@pytest.mark.parametrize(("later", "hour", "offset"), [(True, 1, "+01:00"), (False, 0, "+02:00")])
def test_a_time_that_happens_twice_means_the_later_for_ends_and_the_earlier_for_beginnings(
    later: bool, hour: int, offset: str
):
    found = meant(at("2026-10-25T02:30"), "Europe/Paris", later=later)
    assert found.moment == datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
    assert found.kind == Kind.FOLD
    assert f"UTC{offset}" in found.note


def test_zones_that_change_at_midnight_or_by_half_an_hour_are_right_too():
    gap = meant(at("2026-09-06T00:30"), "America/Santiago", later=True)
    assert (gap.kind, gap.moment) == (Kind.GAP, datetime(2026, 9, 6, 4, 30, tzinfo=UTC))
    fold = meant(at("2026-04-05T01:45"), "Australia/Lord_Howe", later=True)
    assert (fold.kind, fold.moment) == (Kind.FOLD, datetime(2026, 4, 4, 15, 15, tzinfo=UTC))


def test_a_zone_without_changes_never_surprises():
    assert meant(at("2026-03-29T02:30"), "UTC", later=True).kind == Kind.ONCE


def test_the_field_reads_and_shows_the_courses_zone_whatever_the_readers(settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    field = LocalDateTimeField()
    field.in_zone("America/New_York")
    moment = field.clean("2026-07-01T09:00")
    assert moment == datetime(2026, 7, 1, 13, 0, tzinfo=UTC)
    assert field.prepare_value(moment) == at("2026-07-01T09:00")


def test_the_field_says_what_is_meant_only_where_the_clocks_change():
    field = LocalDateTimeField()
    field.in_zone("Europe/Paris")
    field.clean("2026-03-29T02:30")
    assert "skip" in field.note
    field.clean("2026-03-30T02:30")
    assert field.note == ""
