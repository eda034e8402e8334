"""A profile is tried by the process that speaks to the provider, before it is saved, within a bounded time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from runtimes import trials
from runtimes.models import Profile, ProfileTrial
from runtimes.provider import ProviderUnavailable
from tests.runtimes.fakes import FakeProvider, running
from tests.runtimes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
SHORT = timedelta(seconds=0.3)


@pytest.fixture
def provider():
    fake = FakeProvider()
    yield fake
    fake.clean_up()


def in_own_thread(profile: Profile, patience: timedelta = trials.PATIENCE) -> trials.Answer:
    """As a page asks: in a thread beside the process's, which lets go of the database afterwards."""
    try:
        return trials.ask(profile, patience)
    finally:
        connection.close()


aask = sync_to_async(in_own_thread, thread_sensitive=False)


async def test_the_providers_own_words_come_back_and_the_question_is_gone(provider):
    provider.refusals = {"gpu": "0/3 nodes have nvidia.com/gpu"}
    async with running(provider):
        refused = await aask(Profile(slug="gpu", name="GPU", gpu=1))
        taken = await aask(Profile(slug="cpu", name="CPU"))
    assert (refused, taken) == (trials.Answer(True, "0/3 nodes have nvidia.com/gpu"), trials.Answer(True))
    assert not await ProfileTrial.objects.aexists()
    assert not await Profile.objects.aexists()


async def test_what_no_provider_could_run_is_refused_without_asking(provider):
    async with running(provider):
        answer = await aask(Profile(slug="cpu", name="CPU", processes=0))
    assert "limits too small" in answer.refusal


async def test_a_provider_that_cannot_tell_now_is_no_refusal(provider):
    provider.refusal_error = ProviderUnavailable("away")
    async with running(provider):
        assert await aask(Profile(slug="cpu", name="CPU"), SHORT) == trials.Answer(False)


def test_nobody_waits_for_a_process_that_is_not_there(db):
    assert trials.ask(Profile(slug="cpu", name="CPU"), SHORT) == trials.Answer(False)
    assert not ProfileTrial.objects.exists()


async def test_questions_whose_asker_died_are_forgotten(provider):
    old = timezone.now() - timedelta(hours=1)
    await ProfileTrial.objects.acreate(profile="[]", asked_at=old)
    async with running(provider):
        await until(lambda: not ProfileTrial.objects.exists())
