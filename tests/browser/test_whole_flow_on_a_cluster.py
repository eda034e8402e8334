"""The product's spine once more, in a real browser, with every kernel a pod of a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runtimes.models import Runtime
from tests.browser.test_whole_flow import test_a_course_from_its_first_page_to_feedback_read  # noqa: F401 - run here, too
from tests.live import LiveSite
from tests.runtimes.pods.real import live_site, needs_cluster

pytestmark = [needs_cluster, pytest.mark.live, pytest.mark.browser]


@pytest.fixture(scope="module")
def live(django_db_blocker: Any) -> Iterator[LiveSite]:
    """Instead of a site whose kernels are sandboxes."""
    with live_site(django_db_blocker) as site:
        yield site
        with site.orm():
            assert set(Runtime.objects.values_list("provider", flat=True)) == {"pods"}
