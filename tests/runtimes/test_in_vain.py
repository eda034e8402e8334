"""Since when somebody has waited for a machine that is not there: from the first word of that."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from runtimes import rows
from runtimes.fallback import use_fallback
from runtimes.models import Profile, Runtime
from runtimes.provider import Reason

pytestmark = pytest.mark.django_db(transaction=True)
State = Runtime.State
AN_HOUR_AGO = timezone.now() - timedelta(hours=1)


@pytest.fixture
def waits(profile: Profile):
    """`waits(state, reason)` is one that was asked for an hour ago."""

    async def make(state: str, reason: str = "", since: datetime | None = None) -> Runtime:
        row = await Runtime.objects.acreate(
            profile=profile, account="x", state=state, reason=reason, requested_at=AN_HOUR_AGO, in_vain_since=since
        )
        return await again(row)

    return make


async def again(row: Runtime) -> Runtime:
    return await Runtime.objects.select_related("profile__fallback").aget(pk=row.pk)


async def since(row: Runtime) -> datetime | None:
    return (await again(row)).in_vain_since


def is_now(at: datetime | None) -> bool:
    return at is not None and timezone.now() - at < timedelta(minutes=1)


async def test_it_counts_from_when_its_provider_said_so_and_not_from_when_it_was_asked_for(waits):
    row = await waits(State.STARTING, Reason.CAPACITY_WAIT)
    await rows.note_waiting(row, Reason.NO_MACHINE, detail="1 node(s) were unschedulable")
    first = await since(row)
    assert is_now(first)
    await rows.note_waiting(row, Reason.NO_MACHINE, detail="2 node(s) were unschedulable")
    assert await since(row) == first
    await rows.note_waiting(row, Reason.CAPACITY_WAIT)
    assert await since(row) is None


async def test_who_waits_behind_such_a_one_counts_so_too(waits):
    row = await waits(State.QUEUED)
    await rows.note_queued([(row, Reason.NO_MACHINE)])
    first = await since(row)
    assert is_now(first)
    await rows.note_queued([(await again(row), Reason.NO_MACHINE)])
    assert await since(row) == first
    await rows.note_queued([(await again(row), Reason.CAPACITY_WAIT)])
    assert await since(row) is None


async def test_to_be_asked_anew_is_no_machine(waits):
    """Whenever the first of them gives up all behind it are asked for again: the teachers would never hear."""
    row = await waits(State.QUEUED, Reason.NO_MACHINE, AN_HOUR_AGO)
    await rows.begin_start([row], "fake")
    assert (await again(row)).reason == ""
    await rows.back_to_queue(row)
    await rows.note_queued([(await again(row), Reason.NO_MACHINE)])
    await rows.begin_start([row], "fake")
    # A provider's first word.
    await rows.note_waiting(row, "")
    await rows.note_waiting(row, Reason.NO_MACHINE)
    assert await since(row) == AN_HOUR_AGO


async def test_one_that_came_and_went_before_it_was_ready_is_not_in_vain_from_the_start(waits):
    row = await waits(State.QUEUED, Reason.NO_MACHINE, AN_HOUR_AGO)
    await rows.begin_start([row], "fake")
    await rows.note_waiting(row, Reason.FETCHING)
    assert await since(row) is None
    await rows.note_waiting(row, Reason.NO_MACHINE)
    assert is_now(await since(row))


@pytest.mark.parametrize("state", [State.STARTING, State.QUEUED])
async def test_a_row_of_the_version_before_counts_from_its_next_look(waits, state):
    row = await waits(state, Reason.NO_MACHINE)
    if state == State.QUEUED:
        await rows.note_queued([(row, Reason.NO_MACHINE)])
    else:
        await rows.note_waiting(row, Reason.NO_MACHINE)
    assert is_now(await since(row))


async def test_who_goes_on_with_another_machine_waits_anew(waits, profile):
    other = await Profile.objects.acreate(slug="other", name="Other")
    await Profile.objects.filter(pk=profile.pk).aupdate(fallback=other)
    row = await waits(State.STARTING, Reason.NO_MACHINE, AN_HOUR_AGO)
    assert await sync_to_async(use_fallback)(row)
    assert await since(row) is None
