"""What a runtime used, charged to its account."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from runtimes import usage
from runtimes.models import GIB, Profile, Runtime, Usage

pytestmark = pytest.mark.django_db


def test_of_a_gpu_that_four_share_each_is_charged_a_quarter():
    shared = Profile.objects.create(
        slug="shared", name="Shared", cpu=2, memory_bytes=4 * GIB, gpu=1, accelerator_sharing="time-sharing",
        accelerator_clients=4,
    )  # fmt: skip
    now = timezone.now()
    runtime = Runtime.objects.create(profile=shared, account="course:1", ready_at=now - timedelta(seconds=100))
    for _twice in range(2):
        usage.record([runtime], now)
    row = Usage.objects.get()
    used = (row.account, row.wall_seconds, row.cpu_seconds, row.memory_gib_seconds, row.gpu_seconds)
    assert used == ("course:1", 100, 200, 400, 25)


def test_what_was_never_ready_used_nothing(profile):
    usage.record([Runtime.objects.create(profile=profile, account="x")], timezone.now())
    assert not Usage.objects.exists()


def test_many_are_written_in_one_query(profile, django_assert_num_queries):
    now = timezone.now()
    began = [now - timedelta(seconds=10 * (number + 1)) for number in range(20)]
    ready = [Runtime.objects.create(profile=profile, account=f"a:{at:%S}", ready_at=at) for at in began]
    waiting = Runtime.objects.create(profile=profile, account="x")
    usage.record(ready, now - timedelta(seconds=5))
    with django_assert_num_queries(1):
        usage.record([*ready, waiting], now)
    written = {row.runtime_id: (row.account, row.wall_seconds, row.recorded_at) for row in Usage.objects.all()}
    expected = {
        runtime.pk: (runtime.account, (now - at).total_seconds(), now) for runtime, at in zip(ready, began, strict=True)
    }
    assert written == expected
