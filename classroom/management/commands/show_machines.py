"""`manage.py show_machines`: what was made in the site, as values of the chart."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import yaml
from django.core.management.base import BaseCommand, CommandError

from classroom.machine_values import entry_of
from runtimes.models import Profile


class Command(BaseCommand):
    """Only reads."""

    help = (
        "Print machines as `machines` of the chart's values.yaml, which `apply_machines` reads. Without what is usual."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which ones."""
        parser.add_argument("slugs", nargs="*", metavar="SLUG", help="their short names; all that are not retired")

    def handle(self, *args: Any, **options: Any) -> None:
        """CommandError for a machine that is not there."""
        wanted: list[str] = options["slugs"]
        rows = Profile.objects.select_related("fallback").order_by("pk")
        found = list(rows.filter(slug__in=wanted) if wanted else rows.filter(retired_at=None))
        if missing := sorted(set(wanted) - {one.slug for one in found}):
            raise CommandError(f"There is no machine {', '.join(missing)}.")
        entries = {"machines": [entry_of(one) for one in found]}
        self.stdout.write(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=120), ending="")
