"""Would the provider run this profile? Asked of the `runtimes` process, which alone speaks to the provider, by a row.

Whoever asks waits for a bounded time: a process that does not answer keeps nobody from saving a profile.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta

from asgiref.sync import async_to_sync
from django.core import serializers
from django.core.serializers.base import DeserializationError
from django.utils import timezone

from runtimes import bus, profiles
from runtimes.models import Profile, ProfileTrial
from runtimes.provider import Provider, ProviderError
from runtimes.rows import in_thread

logger = logging.getLogger(__name__)

TOPIC = "trials"
PATIENCE = timedelta(seconds=6)
LOOK_SECONDS = 2.0
#: How long a provider may take, and how old an unanswered question may be.
ANSWER_SECONDS = 5.0
FORGOTTEN_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """answered: whether the `runtimes` process said anything. refusal: the provider's words; "" if it would run it."""

    answered: bool
    refusal: str = ""


def ask(profile: Profile, patience: timedelta = PATIENCE) -> Answer:
    """What the provider says to a profile that need not be saved. Returns within `patience`."""
    trial = ProfileTrial.objects.create(profile=serializers.serialize("json", [profile]))
    try:
        bus.publish_sync(TOPIC)
        return async_to_sync(_answer)(trial.pk, patience.total_seconds())
    finally:
        trial.delete()


async def _answer(pk: int, seconds: float) -> Answer:
    async with bus.subscribe(f"{TOPIC}:{pk}") as news:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    row = await ProfileTrial.objects.aget(pk=pk)
                    if row.answered_at is not None:
                        return Answer(True, row.refusal)
                    await news.next(LOOK_SECONDS / 4)
        except TimeoutError:
            return Answer(False)


class Trials:
    """The `runtimes` process's side."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def run(self) -> None:
        """Answers for ever."""
        async with bus.subscribe(TOPIC) as news:
            while True:
                for trial in await _open():
                    refusal = await self._refusal(trial)
                    if refusal is not None:
                        await _answered(trial, refusal)
                        await bus.publish(f"{TOPIC}:{trial.pk}")
                await news.next(LOOK_SECONDS)

    async def _refusal(self, trial: ProfileTrial) -> str | None:
        """None where the provider cannot tell now."""
        try:
            [read] = serializers.deserialize("json", trial.profile)
            if not isinstance(read.object, Profile):
                return "this is no profile"
            request = profiles.template(read.object)
            request.validate()
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._provider.refusal(request)
        except TimeoutError:
            logger.warning("a profile could not be tried: the provider did not answer in time")
            return None
        except ProviderError as error:
            if error.retryable:
                logger.warning("a profile could not be tried: %s", error)
                return None
            return str(error)
        except (DeserializationError, ValueError) as error:
            return str(error)


@in_thread
def _open() -> list[ProfileTrial]:
    """Unanswered questions; what nobody waits for any more is forgotten."""
    old = timezone.now() - FORGOTTEN_AFTER
    ProfileTrial.objects.filter(asked_at__lt=old).delete()
    return list(ProfileTrial.objects.filter(answered_at=None).order_by("pk"))


@in_thread
def _answered(trial: ProfileTrial, refusal: str) -> None:
    row = ProfileTrial.objects.filter(pk=trial.pk, answered_at=None)
    row.update(refusal=refusal[:2000], answered_at=timezone.now())
