"""What runtimes use of their processors, as it was measured."""

from __future__ import annotations

from django.conf import settings
from django.utils import timezone

from runtimes.meter import Meter
from runtimes.models import Runtime


def note(runtime: Runtime, count: float) -> None:
    """`count` seconds of processor time were counted in it so far. The row that is passed is changed, too."""
    runtime.cpu_meter = Meter.of(runtime.cpu_meter).read(count, timezone.now(), settings.LONG_RUN).to_json()
    Runtime.objects.filter(pk=runtime.pk, state__in=Runtime.LIVE).update(cpu_meter=runtime.cpu_meter)
