"""How long a pool waits after pods that failed, and when it is filled again. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from runtimes.pods.setbacks import FIRST_PAUSE, LONGEST_PAUSE, ROOM_PAUSE, STEADY, Setbacks
from tests.runtimes.pods.samples import BEGAN

POOL, OTHER = "0123abcd", "4567cdef"
SECOND = timedelta(seconds=1)


def pause(setbacks: Setbacks, now: datetime) -> timedelta:
    """For how long no other is made, in seconds."""
    return next(SECOND * n for n in range(3600) if not setbacks.waits(POOL, now + SECOND * n))


def test_each_failure_that_follows_doubles_the_pause_up_to_the_longest() -> None:
    setbacks, now, pauses = Setbacks(), BEGAN, []
    for _failure in range(20):
        assert setbacks.failed(POOL, "OutOfMemory", now)
        pauses.append(pause(setbacks, now))
        now += pauses[-1]
    assert pauses[:3] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert set(pauses[10:]) == {LONGEST_PAUSE}
    assert not setbacks.waits(OTHER, BEGAN)


def test_pods_that_were_made_at_the_same_time_fail_once() -> None:
    setbacks = Setbacks()
    told = [setbacks.failed(POOL, "OutOfMemory", BEGAN + SECOND * n) for n in range(8)]
    assert told == [True] + [False] * 7
    assert pause(setbacks, BEGAN) == FIRST_PAUSE


def test_after_a_failure_one_is_tried_at_a_time_until_one_has_been_ready_for_a_while() -> None:
    setbacks = Setbacks()
    assert setbacks.at_once(POOL, 8, 0) == 8
    setbacks.failed(POOL, "KernelCrash", BEGAN)
    assert [setbacks.at_once(POOL, 8, starting) for starting in (0, 1, 2)] == [1, 0, 0]
    since = BEGAN + FIRST_PAUSE
    setbacks.ready(POOL, BEGAN - timedelta(hours=1), since)
    setbacks.ready(POOL, since, since + STEADY - SECOND)
    setbacks.ready(POOL, None, since + STEADY)
    assert setbacks.at_once(POOL, 8, 0) == 1
    assert setbacks.words(POOL) == "KernelCrash"
    setbacks.ready(POOL, since, since + STEADY)
    assert setbacks.at_once(POOL, 8, 0) == 8
    assert setbacks.words(POOL) == ""


def test_a_full_quota_is_asked_again_after_the_same_time_and_is_no_failure() -> None:
    setbacks, now = Setbacks(), BEGAN
    for _look in range(5):
        setbacks.no_room(POOL, "exceeded quota", now)
        assert pause(setbacks, now) == ROOM_PAUSE
        now += ROOM_PAUSE
    assert setbacks.at_once(POOL, 8, 0) == 8
    setbacks.made(POOL)
    assert setbacks.words(POOL) == ""


def test_an_edited_profile_begins_anew() -> None:
    setbacks = Setbacks()
    setbacks.failed(POOL, "OutOfMemory", BEGAN)
    setbacks.keep({OTHER})
    assert not setbacks.waits(POOL, BEGAN)
