"""How much of a processor was used, out of counts that are read now and then."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from runtimes.meter import READINGS, Meter

HOUR = timedelta(hours=1)
BEGAN = datetime(2026, 11, 26, 9, tzinfo=UTC)


def read(counts: list[float], every: timedelta = HOUR / READINGS, meter: Meter | None = None) -> Meter:
    """After these counts, so often."""
    meter = meter or Meter()
    for number, count in enumerate(counts):
        meter = meter.read(count, BEGAN + number * every, HOUR)
    return meter


def test_what_nobody_has_read_is_not_known():
    assert (Meter.of({}).used, Meter.of({}).average(HOUR)) == (None, None)
    assert Meter.of(json.loads(json.dumps(Meter().to_json()))) == Meter()


def test_a_row_keeps_it_whole():
    meter = read([0, 200, 100, 500])
    assert Meter.of(json.loads(json.dumps(meter.to_json()))) == meter


def test_an_average_needs_the_whole_time_and_forgets_what_was_before():
    half = [150.0 * number for number in range(READINGS + 1)]
    assert read(half[:-1]).average(HOUR) is None
    assert read(half).average(HOUR) == pytest.approx(0.5)
    quiet = half + [half[-1]] * READINGS
    assert read(quiet).average(HOUR) == 0
    assert read(quiet[:-6]).average(HOUR) == pytest.approx(0.25)
    assert read(quiet[:-6]).average(HOUR / READINGS) == 0


def test_the_few_readings_that_are_kept_suffice_however_often_it_is_read():
    often = read([float(number) for number in range(3 * 3600)], every=timedelta(seconds=1))
    assert len(often.readings) <= READINGS + 2
    assert (often.used, often.average(HOUR)) == (10799, pytest.approx(1))
    seldom = read([0, 7200, 14400], every=2 * HOUR)
    assert seldom.average(HOUR) == pytest.approx(1)


def test_a_count_that_begins_again_is_added_to_what_was_used_before():
    meter = read([100, 300, 20, 50])
    assert meter.used == 350
    assert read([10, 60], meter=meter).used == 410
