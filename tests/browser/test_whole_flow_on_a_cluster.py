"""The product's spine once more, in a real browser, with every kernel a pod of a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from runtimes.models import Runtime
from tests.browser.test_whole_flow import test_a_course_from_its_first_page_to_feedback_read  # noqa: F401 - run here, too
from tests.live import LiveSite
from tests.runtimes.pods.real import live_site, needs_cluster

pytestmark = [needs_cluster, pytest.mark.live, pytest.mark.browser]


@contextmanager
def site_of_pods(blocker: Any) -> Iterator[LiveSite]:
    """At its end, every kernel of it was a pod."""
    with live_site(blocker) as site:
        yield site
        with site.orm():
            assert set(Runtime.objects.values_list("provider", flat=True)) == {"pods"}


@pytest.fixture
def live(django_db_blocker: Any) -> Iterator[LiveSite]:
    """Instead of a site whose kernels are sandboxes; new for each try, as that."""
    site = site_of_pods(django_db_blocker)
    # Playwright keeps an event loop in this thread: neither another one nor Django's database is to be had in it.
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(site.__enter__).result()
        thread.submit(site.__exit__, None, None, None).result()
