"""Would the provider run this profile? Asked of the `runtimes` process, which alone speaks to the provider, by a row.

Whoever asks waits for a bounded time: a process that does not answer keeps nobody from saving a profile. An image that
is new to this site is really started, which takes longer; that it is being tried is told first.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from dataclasses import dataclass, field
from datetime import timedelta

from asgiref.sync import async_to_sync
from django.core import serializers
from django.core.serializers.base import DeserializationError
from django.utils import timezone
from django.utils.translation import gettext as _

from runtimes import bus, profiles, provider
from runtimes.image_trial import UNTRIED_SENTENCES, ImageTrial, Untried
from runtimes.models import Profile, ProfileTrial
from runtimes.provider import Provider, ProviderError, Request
from runtimes.rows import in_thread

logger = logging.getLogger(__name__)

TOPIC = "trials"
PATIENCE = timedelta(seconds=6)
LOOK_SECONDS = 2.0
#: How long a provider may take, for its answer and for an image, and how old an unanswered question may be.
ANSWER_SECONDS, IMAGE_SECONDS = 5.0, 25.0
FORGOTTEN_AFTER = timedelta(minutes=1)
_MOST_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Answer:
    """answered: whether the `runtimes` process said anything. refusal: the provider's words; "" if it would run it.
    of_image: whether it is refused for its image alone. untried: why nobody knows of that, with the provider's
    `words`."""

    answered: bool
    refusal: str = ""
    untried: Untried | None = None
    words: str = ""
    of_image: bool = field(default=False, compare=False)

    @property
    def note(self) -> str:
        """What is said of an image that was not tried, in the reader's language; "" where nothing has to be."""
        if self.untried is None:
            return ""
        told = str(UNTRIED_SENTENCES[self.untried])
        return _("%(told)s What the provider says: %(why)s") % {"told": told, "why": self.words} if self.words else told


def ask(profile: Profile, patience: timedelta = PATIENCE, *, tries_image: bool = True) -> Answer:
    """What the provider says to a profile that need not be saved. Returns within `patience`, or `IMAGE_SECONDS` later
    where its image is being tried, which it is if it is new."""
    # In an upgrade an older process may answer. What the site notes for itself is no part of the question, and the
    # site's image is the one that this process is told of.
    names = [each.name for each in Profile._meta.fields if each.editable]
    asked = copy.copy(profile)
    asked.image = profile.image or provider.get().image
    row = serializers.serialize("json", [asked], fields=names)
    trial = ProfileTrial.objects.create(profile=row, tries_image=tries_image and _is_new(profile))
    try:
        bus.publish_sync(TOPIC)
        return async_to_sync(_answer)(trial.pk, patience.total_seconds())
    finally:
        trial.delete()


def note(profile: Profile, answer: Answer) -> None:
    """Onto a profile that is about to be saved: whether, after this answer, anybody knows of its image. Where nobody
    does, it is tried when it is saved or applied next, and so is every other machine of that image."""
    profile.image_untried = answer.untried is not None or (not answer.answered and _is_new(profile))
    profile.tried_site_image = "" if profile.image else provider.get().image


def is_untried(profile: Profile) -> bool:
    """Whether nobody knows of the image of this saved profile: of the site's, since it is another one, too."""
    if profile.image_untried or profile.image:
        return profile.image_untried
    return profile.tried_site_image != provider.get().image


def _is_new(profile: Profile) -> bool:
    """Whether no machine of this site is known to have its image, fetched in such a place."""
    others = Profile.objects.filter(image=profile.image, image_untried=False)
    return not any(fetched(other) == fetched(profile) and not is_untried(other) for other in others)


def fetched(profile: Profile) -> str:
    """What says whether its image can be had: which, on which nodes, as whom. Equal for those of one kind."""
    machine = profiles.machine(profile)
    return json.dumps([machine.image, machine.placement(), profile.data_service_account], sort_keys=True)


async def _answer(pk: int, seconds: float) -> Answer:
    trying = False
    async with bus.subscribe(f"{TOPIC}:{pk}") as news:
        try:
            async with asyncio.timeout(seconds) as patience:
                while True:
                    row = await ProfileTrial.objects.aget(pk=pk)
                    if row.answered_at is not None:
                        untried = Untried(row.untried) if row.untried else None
                        return Answer(True, row.refusal, untried, row.words, row.trying_image_at is not None)
                    if row.trying_image_at is not None and not trying:
                        trying = True
                        patience.reschedule(asyncio.get_running_loop().time() + IMAGE_SECONDS + LOOK_SECONDS)
                    await news.next(LOOK_SECONDS / 4)
        except TimeoutError:
            return Answer(True, untried=Untried.SLOW) if trying else Answer(False)


class Trials:
    """The `runtimes` process's side. Nobody waits for another's image."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def run(self) -> None:
        """Answers for ever."""
        works: dict[int, asyncio.Task[None]] = {}
        try:
            async with bus.subscribe(TOPIC) as news:
                while True:
                    for pk in [pk for pk, work in works.items() if work.done()]:
                        works.pop(pk).result()
                    for trial in await _open():
                        if trial.pk not in works:
                            works[trial.pk] = asyncio.create_task(self._try(trial))
                    await news.next(LOOK_SECONDS)
        finally:
            for work in works.values():
                work.cancel()
            await asyncio.gather(*works.values(), return_exceptions=True)

    async def _try(self, trial: ProfileTrial) -> None:
        outcome = await self._outcome(trial)
        if outcome is not None:
            await _answered(trial, outcome)
            await bus.publish(f"{TOPIC}:{trial.pk}")

    async def _outcome(self, trial: ProfileTrial) -> ImageTrial | None:
        """None where the provider cannot tell now."""
        try:
            [read] = serializers.deserialize("json", trial.profile)
            if not isinstance(read.object, Profile):
                return ImageTrial("this is no profile")
            request = profiles.template(read.object)
            request.validate()
            async with asyncio.timeout(ANSWER_SECONDS):
                refusal = await self._provider.refusal(request)
        except TimeoutError:
            logger.warning("a profile could not be tried: the provider did not answer in time")
            return None
        except ProviderError as error:
            if error.retryable:
                logger.warning("a profile could not be tried: %s", error)
                return None
            return ImageTrial(str(error))
        except (DeserializationError, ValueError) as error:
            return ImageTrial(str(error))
        return ImageTrial(refusal) if refusal or not trial.tries_image else await self._try_image(trial, request)

    async def _try_image(self, trial: ProfileTrial, request: Request) -> ImageTrial:
        await _trying_image(trial)
        await bus.publish(f"{TOPIC}:{trial.pk}")
        try:
            async with asyncio.timeout(IMAGE_SECONDS):
                return await self._provider.try_image(request)
        except TimeoutError:
            return ImageTrial(untried=Untried.SLOW)
        except ProviderError as error:
            return ImageTrial(untried=Untried.FAULT, words=str(error))


@in_thread
def _open() -> list[ProfileTrial]:
    """Unanswered questions; what nobody waits for any more is forgotten."""
    old = timezone.now() - FORGOTTEN_AFTER
    ProfileTrial.objects.filter(asked_at__lt=old).delete()
    return list(ProfileTrial.objects.filter(answered_at=None).order_by("pk"))


@in_thread
def _trying_image(trial: ProfileTrial) -> None:
    ProfileTrial.objects.filter(pk=trial.pk, answered_at=None).update(trying_image_at=timezone.now())


@in_thread
def _answered(trial: ProfileTrial, outcome: ImageTrial) -> None:
    ProfileTrial.objects.filter(pk=trial.pk, answered_at=None).update(
        refusal=outcome.refusal[:_MOST_WORDS],
        untried=outcome.untried or "",
        words=outcome.words[:_MOST_WORDS],
        answered_at=timezone.now(),
    )
