"""How long until a seat is free, from how long runs have lasted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runtimes.estimate import Seat, until_start


def minutes(*numbers: float) -> list[timedelta]:
    return [timedelta(minutes=number) for number in numbers]


def seat(age: float, left: float | None = None) -> Seat:
    return Seat(timedelta(minutes=age), None if left is None else timedelta(minutes=left))


def wait(place: int, seats: list[Seat], lengths: list[timedelta]) -> float | None:
    found = until_start(place, seats, lengths)
    return None if found is None else found.total_seconds() / 60


HALF_HOURS = minutes(30, 30, 30, 30, 30)


def test_four_measured_runs_tell_nothing_and_five_do():
    assert wait(1, [seat(10)], HALF_HOURS[:4]) is None
    assert wait(1, [seat(10)], HALF_HOURS) == 20


def test_the_seat_of_one_run_is_free_when_runs_as_old_usually_end():
    lengths = minutes(10, 20, 40, 60, 80)
    assert wait(1, [seat(0)], lengths) == 40
    # Of the runs that lasted longer than half an hour, the middle one lasted sixty minutes.
    assert wait(1, [seat(30)], lengths) == 30


def test_a_limit_ends_a_run_that_would_last_longer():
    assert wait(1, [seat(10, left=5)], HALF_HOURS) == 5
    assert wait(1, [seat(10, left=-1)], HALF_HOURS) == 0


def test_a_run_that_outlasted_all_measured_ones_counts_with_its_limit_only():
    assert wait(1, [seat(40, left=90)], HALF_HOURS) == 90
    assert wait(1, [seat(40)], HALF_HOURS) is None


def test_of_many_seats_one_is_free_sooner_than_each_of_them_usually_is():
    lengths = minutes(*range(1, 61))
    alone, together = wait(1, [seat(0)], lengths), wait(1, [seat(0)] * 10, lengths)
    assert (alone, together) == (30, 3)


def test_of_a_thousand_seats_the_answer_is_about_the_same_and_takes_no_longer():
    lengths = minutes(*range(1, 61))
    few, many = wait(5, [seat(0)] * 100, lengths), wait(50, [seat(0)] * 1000, lengths)
    assert few is not None
    assert many == pytest.approx(few, abs=5)


def test_people_are_served_one_after_the_other():
    seats = [seat(0), seat(10), seat(25)]
    assert [wait(place, seats, HALF_HOURS) for place in (1, 2, 3)] == [5, 20, 30]


def test_who_comes_after_all_seats_waits_for_a_usual_run_more():
    seats = [seat(10), seat(20)]
    assert [wait(place, seats, HALF_HOURS) for place in (2, 3, 4, 5)] == [20, 40, 50, 70]


@pytest.mark.parametrize(("place", "seats"), [(0, [seat(10)]), (1, [])])
def test_who_does_not_wait_and_who_waits_for_no_seat_is_told_nothing(place, seats):
    assert wait(place, seats, HALF_HOURS) is None
