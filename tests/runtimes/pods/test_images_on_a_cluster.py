"""Images are tried on a real cluster as the site's service account may, and nothing of a trial is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from classroom.apply_machines import NotApplied, apply
from runtimes.image_trial import ImageTrial, Untried
from runtimes.machine import Machine
from runtimes.models import Profile
from runtimes.pods import environment, labels, offers, trial, trial_pod
from runtimes.pods.config import ClusterConfig
from runtimes.pods.provider import PodsProvider
from runtimes.provider import Request
from tests.runtimes.fakes import running as reconciling
from tests.runtimes.pods.real import (
    MASTER,
    ROOM,
    Admin,
    as_the_site,
    needs_cluster,
    own_namespace,
    running,
    site_settings,
    until,
)

pytestmark = [needs_cluster, pytest.mark.asyncio, pytest.mark.timeout(300)]
NOTHING = f"@sha256:{'0' * 64}"
#: By image: a port of this machine on which nobody listens, a name that is none, a host that does not exist.
REFUSED = {
    f"localhost/none{NOTHING}": "ErrImagePull: failed to pull and unpack image",
    f"localhost/No/none{NOTHING}": "InvalidImageName: ",
}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a page: on a busy cluster what is tried here takes longer than a person would."""
    monkeypatch.setattr(trial, "PATIENCE_SECONDS", 90.0)
    monkeypatch.setattr(trial, "ROOM_SECONDS", 30.0)


def asks(image: str, **machine: object) -> Request:
    return Request("x", machine=Machine("tried", image, **machine))  # type: ignore[arg-type]


@asynccontextmanager
async def as_it_was(admin: Admin, config: ClusterConfig) -> AsyncIterator[None]:
    """Afterwards nothing is there any more."""
    yield

    async def gone() -> bool:
        pods, _version = await admin.pods(trial_pod.selector(config))
        return not pods

    await until(gone)


async def test_an_image_that_cannot_be_had_is_refused_in_the_clusters_words_and_one_that_can_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with as_the_site(tmp_path, monkeypatch) as (admin, config), as_it_was(admin, config):
        provider = PodsProvider(config, {1: MASTER})
        tries = [provider.try_image(asks(image)) for image in ("", *REFUSED)]
        fine, *refused = await asyncio.gather(*tries)
        assert fine == ImageTrial()
        for found, (image, words) in zip(refused, REFUSED.items(), strict=True):
            assert words in found.refusal, image
            assert image.split("@")[0] in found.refusal


async def test_an_image_without_what_a_kernel_needs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with own_namespace() as (admin, config), as_it_was(admin, config):
        provider = PodsProvider(config, {1: MASTER})
        monkeypatch.setattr(environment, "_CHECK", "import no_such_module")
        found = await provider.try_image(asks(""))
        assert found.refusal == (
            "a kernel cannot start in this image: ModuleNotFoundError: No module named 'no_such_module' (exit status 1)"
        )
        monkeypatch.setattr(environment, "check_command", lambda _request: ["/usr/bin/no-such-program"])
        assert "no such file or directory" in (await provider.try_image(asks(""))).refusal


@pytest.mark.django_db(transaction=True)
async def test_an_upgrade_to_an_image_of_the_site_that_cannot_be_had_fails_in_the_clusters_words(settings) -> None:
    def applied() -> None:
        try:
            apply([], keeper="", patience=timedelta(seconds=60))
        finally:
            connection.close()

    async with own_namespace() as (admin, config), as_it_was(admin, config):
        for name, value in site_settings(config).items():
            setattr(settings, name, value)
        standard = await Profile.objects.acreate(slug="standard", name="Standard")
        # It goes on as the process of before, with the image of before.
        async with reconciling(PodsProvider(config, {1: MASTER})):
            await sync_to_async(applied, thread_sensitive=False)()
            await standard.arefresh_from_db()
            assert (standard.tried_site_image, standard.image_untried) == (config.image, False)
            settings.PODS_IMAGE = f"localhost/none{NOTHING}"
            with pytest.raises(NotApplied, match="standard: It cannot be run here.*ErrImagePull"):
                await sync_to_async(applied, thread_sensitive=False)()


async def test_where_an_image_cannot_be_tried_now_that_is_said_and_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trial, "ROOM_SECONDS", 4.0)
    async with own_namespace() as (admin, config), as_it_was(admin, config):
        provider = PodsProvider(config, {1: MASTER})
        nowhere = asks("", node_selector={"room": "b12"})
        found = await provider.try_image(nowhere)
        assert (found.refusal, found.untried) == ("", Untried.ROOM)
        assert "didn't match Pod's node affinity/selector" in found.words
        # Where nodes are added, another kind of node fetches it.
        grows = PodsProvider(replace(config, adds_nodes=True), {1: MASTER})
        assert await grows.try_image(nowhere) == ImageTrial()
        with monkeypatch.context() as patched:
            patched.setattr(trial_pod, "PRIORITY", "pupitre-of-no-older-chart")
            found = await provider.try_image(asks(""))
        assert (found.refusal, found.untried) == ("", Untried.FAULT)
        assert "no PriorityClass with name pupitre-of-no-older-chart" in found.words
    async with own_namespace(replace(ROOM, pods=0)) as (_admin, config):
        found = await PodsProvider(config, {1: MASTER}).try_image(asks(""))
        assert (found.refusal, found.untried) == ("", Untried.ROOM)
        assert "exceeded quota" in found.words


async def test_a_trial_that_was_broken_off_is_no_runtime_and_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "LEFT_BEHIND", timedelta(0))
    async with own_namespace() as (admin, config), as_it_was(admin, config):
        left = trial_pod.pod(asks("", node_selector={"room": "b12"}), config, name=labels.new_name())
        await admin.create(left)
        monkeypatch.setattr(offers, "SWEEP_SECONDS", 0.2)
        async with running(config) as provider:
            assert await provider.owned() == []

            async def swept() -> bool:
                pods, _version = await admin.pods(trial_pod.selector(config))
                return not pods

            await until(swept)
