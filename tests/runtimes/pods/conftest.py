"""The place and the provider of the tests that share one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from runtimes.pods.config import ClusterConfig
from runtimes.pods.provider import PodsProvider
from tests.runtimes.pods.real import Admin, own_namespace, running
from tests.runtimes.sandbox.notebook import leave_nothing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[tuple[Admin, ClusterConfig]]:
    """One namespace for the tests of a file that leave nothing in it."""
    async with own_namespace() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_provider(place: tuple[Admin, ClusterConfig]) -> AsyncIterator[PodsProvider]:
    """A provider of pods there."""
    async with running(place[1]) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def provider(shared_provider: PodsProvider) -> AsyncIterator[PodsProvider]:
    """The same, and what a test that failed has left there is gone before the next."""
    yield shared_provider
    await leave_nothing(shared_provider)
