"""`manage.py apply_machines FILE`: the machines of a file, made or set back to what it says."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from classroom.apply_machines import Applied, NotApplied, apply
from classroom.machine_values import read


class Command(BaseCommand):
    """The chart runs it after each install and upgrade; by hand it does the same."""

    help = (
        "Make or change machines as a file of YAML or JSON says: all of them or, where one is wrong, none (exit status "
        "1). Machines that it does not name stay as they are. `show_machines` writes such a file."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The file, and who it is from."""
        parser.add_argument(
            "file", metavar="FILE", help="a list, or a file with one at the key machines; - is what is sent in"
        )
        parser.add_argument("--check", action="store_true", help="only say what would be done")
        parser.add_argument(
            "--patience", type=float, default=0.0, metavar="SECONDS",
            help="wait so long in all for the process that runs machines and for images that are fetched",
        )  # fmt: skip
        parser.add_argument("--keeper", default="", metavar="NAME", help="who keeps them so, as their pages say; FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was done to each. CommandError where nothing was."""
        file: str = options["file"]
        try:
            entries = read(sys.stdin.read() if file == "-" else Path(file).read_text())
            patience = timedelta(seconds=options["patience"])
            report = apply(entries, keeper=options["keeper"] or file, only_look=options["check"], patience=patience)
        except NotApplied as error:
            raise CommandError("Nothing was changed.\n" + "\n".join(error.sentences)) from error
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{file} cannot be read: {error}") from error
        except ValueError as error:
            raise CommandError(f"{file}: {error}") from error
        for one in report.machines:
            self.stdout.write(f"{one.slug}: {_what(one, would='would be ' if options['check'] else '')}{_note(one)}")
        for slug in report.left:
            self.stdout.write(
                f"{slug}: no longer named, left as it is. Retire it under Machines if nobody shall choose it."
            )
        if any(one.asked and not one.tried for one in report.machines):
            self.stderr.write(
                "Not all were tried, since the process that runs machines did not answer: look under Operations "
                "whether they start."
            )
        if options["check"]:
            self.stdout.write("Nothing was changed: this was a check.")


def _what(one: Applied, *, would: str) -> str:
    if one.is_new:
        return f"{would}made"
    if not one.changes:
        return "as it was"
    changes = ", ".join(f"{key} {before!r} → {after!r}" for key, (before, after) in one.changes.items())
    return f"{would}changed: {changes}"


def _note(one: Applied) -> str:
    return f". {one.note}" if one.note else ""
