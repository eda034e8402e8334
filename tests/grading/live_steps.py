"""Steps on the running site that tests of grading share: publish, hand in, wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from django.test import override_settings
from django.utils import timezone

from classroom.people.models import User
from grading import collect, release, states
from grading.models import Autograding, LineItem, Release, ReleaseCheck, Submission
from runtimes import storage
from runtimes.models import Profile
from tests.grading.conftest import blobs_in
from tests.live import LiveSite

LONG_AGO = timedelta(hours=1)
_OVER = [ReleaseCheck.State.PASSED, ReleaseCheck.State.FAILED, ReleaseCheck.State.ERROR]


@contextmanager
def rows_and_files(live: LiveSite) -> Iterator[LiveSite]:
    """Inside, verbs called by a test read and write the running site's rows and files."""
    with override_settings(STORAGES=blobs_in(live.folder / "work")), live.orm():
        yield live


def line_item(label: str, *, profile: Mapping[str, object] | None = None, **fields: object) -> LineItem:
    made = Profile.objects.get_or_create(slug=f"profile-{label}", defaults={"name": label, **(profile or {})})[0]
    return LineItem.objects.create(label=label, profile=made, **fields)


def published(
    site: LiveSite, item: LineItem, files: Mapping[str, bytes], course_files: Mapping[str, bytes] | None = None
) -> Release:
    """Checked by the site's own worker; published whatever the check says."""
    made = release.draft(item, files, None, course_files=course_files)
    assert made.state == Release.State.DRAFT, made.problems
    over = ReleaseCheck.objects.filter(release=made, state__in=_OVER)
    site.until(over.exists, "the solution was run", 300)
    made.refresh_from_db()
    release.publish(made, anyway=True)
    return made


def hand_in(made: Release, student: str, files: Mapping[str, bytes]) -> Submission:
    author = User.objects.get_or_create(username=student, defaults={"email": f"{student}@example.org"})[0]
    submission = collect.collect(
        line_item=made.line_item,
        release=made,
        snapshot=storage.snapshot_of(files),
        authors=[author],
        received_at=timezone.now(),
        due_at=None,
        request_key=student,
    )
    # No page was clicked, so no message was sent: the sweep finds what waits for long.
    Autograding.objects.filter(submission=submission).update(queued_at=timezone.now() - LONG_AGO)
    return submission


def until_graded(site: LiveSite, submissions: list[Submission], seconds: float = 900) -> None:
    still = Autograding.objects.filter(submission__in=submissions, state__in=states.OPEN)
    site.until(lambda: not still.exists(), "everything is graded", seconds)
    for submission in submissions:
        submission.refresh_from_db()


def sandboxes(site: LiveSite) -> list[Path]:
    """Records of the sandboxes that exist, for whatever they are."""
    return list((site.folder / "run" / "m").glob("*.json"))


def lease_ends(rows) -> None:
    """Nobody renews it any more; waiting for its end would only take time."""
    rows.update(lease_until=timezone.now() - LONG_AGO)


def children_that(command: str) -> Iterator[tuple[int, int]]:
    """(process, parent) of those that run this command line, wherever they are."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode().strip() == command:
                yield int(folder.name), int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
