"""A place in the queue counts everybody who is served before, whichever line they stand in: what admission does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from runtimes import queue
from runtimes.admission import admit
from runtimes.models import Profile, Runtime
from runtimes.provider import Reason

pytestmark = pytest.mark.django_db
State = Runtime.State


@pytest.fixture
def sandboxed(db) -> Profile:
    return Profile.objects.create(slug="sandboxed", name="gVisor", runtime_class="gvisor")


@pytest.fixture
def gpu(db) -> Profile:
    return Profile.objects.create(slug="gpu", name="GPU", gpu=1)


def waits(profile: Profile, reason: str = "", state: str = State.QUEUED) -> Runtime:
    return Runtime.objects.create(profile=profile, account="x", state=state, reason=reason)


def up(profile: Profile, minutes: float = 1) -> Runtime:
    at = timezone.now() - timedelta(minutes=minutes)
    return Runtime.objects.create(
        profile=profile, account="x", state=State.READY, ready_at=at, deadline=at + timedelta(hours=2)
    )


def told() -> list[int]:
    """Their places, in the order in which they came; both ways of asking say the same."""
    live = list(Runtime.objects.filter(state__in=Runtime.LIVE).select_related("profile").order_by("requested_at", "pk"))
    found = queue.positions(live)
    assert found == {row.pk: queue.queue_position(row) for row in live if queue.waits(row)}
    return list(found.values())


def test_who_waits_for_a_full_quota_is_behind_all_who_do_whatever_their_nodes(profile, sandboxed, gpu):
    waits(profile, Reason.QUOTA_EXCEEDED, State.STARTING)
    waits(profile, Reason.QUOTA_EXCEEDED)
    waits(sandboxed, Reason.QUOTA_EXCEEDED)
    waits(gpu)
    assert told() == [1, 2, 3, 1]
    assert (queue.newcomer(sandboxed).position, queue.newcomer(gpu).position) == (4, 2)


def test_who_waits_for_nodes_is_behind_an_earlier_one_that_waits_for_the_quota_only(profile, sandboxed):
    first = waits(sandboxed, Reason.CAPACITY_WAIT, State.STARTING)
    quota = waits(profile, Reason.QUOTA_EXCEEDED, State.STARTING)
    behind = waits(sandboxed, Reason.CAPACITY_WAIT)
    assert told() == [1, 1, 3]
    assert admit([first, quota, behind], most=0).held == [(behind, Reason.CAPACITY_WAIT)]
    assert queue.newcomer(profile).position == 2


def test_the_limit_over_all_kinds_is_one_line_of_those_in_the_queue(profile, sandboxed, gpu, settings):
    up(profile)
    waits(gpu, Reason.ACCELERATOR_WAIT, State.STARTING)
    waits(gpu, Reason.ACCELERATOR_WAIT)
    waits(profile, Reason.CAPACITY_WAIT)
    waits(sandboxed, Reason.CAPACITY_WAIT)
    # Not the second one for a GPU: the place that becomes free is not kept for it.
    assert told() == [1, 2, 1, 1]
    settings.RUNTIMES_MOST = 2
    assert told() == [1, 2, 1, 2]
    assert (queue.newcomer(profile).position, queue.newcomer(gpu).position) == (3, 5)
    settings.RUNTIMES_MOST = 3
    assert told() == [1, 2, 1, 1]


def looked(most: int) -> list[Runtime]:
    """Who may start after a look of the process, which says on the rows of the others what they wait for."""
    live = Runtime.objects.filter(state__in=Runtime.LIVE).select_related("profile").order_by("requested_at", "pk")
    found = admit(list(live), most)
    for row, reason in found.held:
        Runtime.objects.filter(pk=row.pk).update(reason=reason)
    return list(found.begin)


def now(row: Runtime, state: str, reason: str = "") -> None:
    Runtime.objects.filter(pk=row.pk).update(state=state, reason=reason)


def test_under_the_limit_places_are_the_order_in_which_rows_are_begun(profile, sandboxed, settings):
    settings.RUNTIMES_MOST = 1
    at_work, rows = up(profile), [waits(one) for one in (profile, sandboxed, sandboxed, profile)]
    assert looked(most=1) == []
    assert told() == [1, 2, 3, 4]
    for row in rows:
        now(at_work, State.STOPPED)
        assert looked(most=1) == [row]
        now(row, State.READY)
        at_work = row


def test_of_a_full_quota_places_are_the_order_in_which_rows_are_begun(profile, sandboxed):
    asks = waits(profile, Reason.QUOTA_EXCEEDED, State.STARTING)
    rows = [waits(one) for one in (sandboxed, profile, profile, sandboxed)]
    assert looked(most=0) == []
    assert told() == [1, 2, 3, 4, 5]
    for row in rows:
        now(asks, State.READY)
        assert looked(most=0)[0] == row
        now(row, State.STARTING, Reason.QUOTA_EXCEEDED)
        asks = row


def test_an_estimate_goes_by_the_seats_that_the_line_waits_for(profile, sandboxed, settings):
    for _ in range(5):
        over = timezone.now()
        Runtime.objects.create(
            profile=profile, account="x", state=State.STOPPED, stopped_at=over, ready_at=over - timedelta(minutes=30)
        )
    up(profile, minutes=10)
    elsewhere = waits(sandboxed, Reason.CAPACITY_WAIT)
    assert (queue.outlook(elsewhere).seats, queue.outlook(elsewhere).left) == (0, None)
    for reason, most in ((Reason.QUOTA_EXCEEDED, 0), (Reason.CAPACITY_WAIT, 1)):
        settings.RUNTIMES_MOST = most
        elsewhere.reason = reason
        found = queue.outlook(elsewhere)
        assert (found.position, found.seats, found.measured) == (1, 1, 5)
        assert found.left.total_seconds() == pytest.approx(20 * 60, abs=30)


def test_a_place_takes_two_queries_however_many_wait_and_all_places_take_none(
    profile, sandboxed, django_assert_num_queries
):
    for number in range(20):
        waits((profile, sandboxed)[number % 2], Reason.QUOTA_EXCEEDED)
    live = list(Runtime.objects.select_related("profile").order_by("requested_at", "pk"))
    with django_assert_num_queries(2):
        assert queue.queue_position(live[-1]) == 20
    with django_assert_num_queries(0):
        assert queue.positions(live)[live[-1].pk] == 20
    with django_assert_num_queries(4):
        assert queue.outlook(live[-1]).ahead == 19
