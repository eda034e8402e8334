"""Grading of an assignment stopped and taken up again: what waits is taken by nobody meanwhile, what runs ends."""

from __future__ import annotations

from django.utils import timezone

from grading.models import LineItem


def stop(line_item: LineItem) -> bool:
    """False: it was stopped already."""
    running = LineItem.objects.filter(pk=line_item.pk, grading_stopped_at=None)
    return bool(running.update(grading_stopped_at=timezone.now()))


def resume(line_item: LineItem) -> bool:
    """False: it was not stopped."""
    stopped = LineItem.objects.filter(pk=line_item.pk, grading_stopped_at__isnull=False)
    return bool(stopped.update(grading_stopped_at=None))
