"""A profile is tried by the process that speaks to the provider, before it is saved, within a bounded time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from runtimes import trials
from runtimes.image_trial import ImageTrial, Untried
from runtimes.models import Profile, ProfileTrial
from runtimes.provider import ProviderUnavailable, Request
from tests.runtimes.fakes import FakeProvider, running
from tests.runtimes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
SHORT = timedelta(seconds=0.3)
IMAGE = f"registry.example/kernel@sha256:{'0' * 64}"
OTHER = IMAGE.replace("0", "1")


@pytest.fixture
def provider():
    fake = FakeProvider()
    yield fake
    fake.clean_up()


@pytest.fixture
def site_of(settings):
    """Has the site's own image be this one from now on, as an upgrade of the chart does."""
    settings.RUNTIME_PROVIDER = "runtimes.pods.provider.PodsProvider"

    def site_of(image: str) -> None:
        settings.PODS_IMAGE = image

    return site_of


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
    assert (refused, taken) == (
        trials.Answer(True, "0/3 nodes have nvidia.com/gpu"),
        trials.Answer(True),
    )
    # What is refused without its image needs none.
    assert provider.images_tried == ["cpu"]
    assert not await ProfileTrial.objects.aexists()
    assert not await Profile.objects.aexists()


@pytest.mark.parametrize(
    ("comes_of_it", "told"),
    [
        (ImageTrial("ErrImagePull: not found"), trials.Answer(True, "ErrImagePull: not found")),
        (ImageTrial(untried=Untried.ROOM, words="0/3"), trials.Answer(True, untried=Untried.ROOM, words="0/3")),
        (ProviderUnavailable("away"), trials.Answer(True, untried=Untried.FAULT, words="away")),
    ],
)
async def test_what_comes_of_a_new_image_is_told(provider, comes_of_it, told):
    provider.images = {"new": comes_of_it}
    async with running(provider):
        assert await aask(Profile(slug="new", name="New", image=IMAGE)) == told


@pytest.mark.parametrize(
    ("saved", "tried"),
    [
        ({"image": IMAGE, "node_selector": {"pool": "a"}}, []),
        ({"image": IMAGE, "node_selector": {"pool": "a"}, "name": "Other", "memory_bytes": 1 << 30, "gpu": 0}, []),
        ({"image": IMAGE, "node_selector": {"pool": "b"}}, ["same"]),
        ({"image": OTHER, "node_selector": {"pool": "a"}}, ["same"]),
        ({"image": IMAGE, "node_selector": {"pool": "a"}, "runtime_class": "gvisor"}, ["same"]),
        # Saved while nobody could tell.
        ({"image": IMAGE, "node_selector": {"pool": "a"}, "image_untried": True}, ["same"]),
    ],
)
async def test_an_image_is_tried_once_for_a_kind_of_nodes_so_that_another_name_is_saved_at_once(provider, saved, tried):
    await Profile.objects.acreate(slug="saved", **{"name": "Saved", **saved})
    async with running(provider):
        answer = await aask(Profile(slug="same", name="Same", image=IMAGE, node_selector={"pool": "a"}))
    assert (answer, provider.images_tried) == (trials.Answer(True), tried)


@pytest.mark.parametrize(
    ("answer", "saved", "untried"),
    [
        (trials.Answer(True), {}, False),
        (trials.Answer(True, untried=Untried.SLOW), {}, True),
        (trials.Answer(False), {}, True),
        (trials.Answer(False), {"image": IMAGE}, False),
        (trials.Answer(False), {"image": IMAGE, "image_untried": True}, True),
    ],
)
def test_an_image_is_untried_until_there_is_a_verdict_on_this_machine_or_one_of_its_kind(db, answer, saved, untried):
    Profile.objects.create(slug="saved", name="Saved", **saved)
    new = Profile(slug="new", name="New", image=IMAGE)
    trials.note(new, answer)
    assert (new.image_untried, trials.is_untried(new)) == (untried, untried)


async def test_what_was_saved_untried_is_tried_when_it_is_saved_again(provider):
    untried = await Profile.objects.acreate(slug="lab", name="Lab", image=IMAGE, image_untried=True)
    async with running(provider):
        trials.note(untried, await aask(untried))
        await untried.asave()
        await aask(untried)
    assert (untried.image_untried, provider.images_tried) == (False, ["lab"])


async def test_the_sites_image_is_tried_once_and_again_when_it_is_another_one(provider, site_of):
    lab, new = Profile(slug="lab", name="Lab"), Profile(slug="new", name="New")
    # Nobody has tried one that was made beside.
    await Profile.objects.acreate(slug="standard", name="Standard")
    async with running(provider):
        for image in (IMAGE, OTHER):
            site_of(image)
            assert trials.is_untried(lab)
            trials.note(lab, await aask(lab))
            await lab.asave()
            assert not trials.is_untried(lab)
            await aask(new)
    assert provider.images_tried == ["lab", "lab"]


async def test_a_new_image_of_the_site_that_does_not_run_is_refused_for_that(provider, site_of):
    await Profile.objects.acreate(slug="lab", name="Lab", tried_site_image=IMAGE)
    provider.images, provider.refusals = {"new": ImageTrial("ErrImagePull")}, {"gpu": "0/3 nodes"}
    site_of(OTHER)
    async with running(provider):
        of_image, of_all = await aask(Profile(slug="new", name="New")), await aask(Profile(slug="gpu", name="GPU"))
    assert [(each.refusal, each.of_image) for each in (of_image, of_all)] == [
        ("ErrImagePull", True),
        ("0/3 nodes", False),
    ]


async def test_a_process_of_before_an_upgrade_is_asked_about_the_image_of_after_it(provider, site_of, monkeypatch):
    asked: list[str] = []

    async def try_image(request: Request) -> ImageTrial:
        asked.append(request.machine.image)
        return ImageTrial()

    monkeypatch.setattr(provider, "try_image", try_image)
    site_of(OTHER)
    async with running(provider):
        await aask(Profile(slug="lab", name="Lab"))
        await aask(Profile(slug="own", name="Own", image=IMAGE))
    assert asked == [OTHER, IMAGE]


def test_sandboxes_have_no_image_that_could_be_another_one(db):
    assert not trials.is_untried(Profile.objects.create(slug="lab", name="Lab"))


async def test_who_tries_an_image_keeps_nobody_waiting_and_is_told_when_it_takes_too_long(provider, monkeypatch):
    monkeypatch.setattr(trials, "IMAGE_SECONDS", 1.0)
    provider.fetched = {"slow": asyncio.Event()}
    async with running(provider):
        slow = asyncio.create_task(aask(Profile(slug="slow", name="Slow", image=IMAGE), SHORT))
        await until(lambda: provider.images_tried == ["slow"])
        await Profile.objects.acreate(slug="saved", name="Saved")
        assert await aask(Profile(slug="other", name="Other")) == trials.Answer(True)
        assert not slow.done()
        assert await slow == trials.Answer(True, untried=Untried.SLOW)


async def test_an_image_that_takes_longer_than_a_question_is_waited_for(provider):
    provider.fetched = {"slow": asyncio.Event()}
    provider.images = {"slow": ImageTrial("no such program")}
    async with running(provider):
        asked = asyncio.create_task(aask(Profile(slug="slow", name="Slow", image=IMAGE), SHORT))
        await until(lambda: ProfileTrial.objects.filter(trying_image_at__isnull=False).exists())
        _done, pending = await asyncio.wait({asked}, timeout=2 * SHORT.total_seconds())
        assert pending
        provider.fetched["slow"].set()
        assert await asked == trials.Answer(True, "no such program")


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
