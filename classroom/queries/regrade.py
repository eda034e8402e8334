"""What a teacher sees of regrades: what can be tried on whom, and whose score would move."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from classroom.enter import Member
from classroom.models import Assignment
from classroom.queries import strictly
from classroom.queries.counted import Summary, counted
from classroom.queries.counting import counting_submission
from classroom.queries.scores import scores_of
from classroom.regrade import digest, ticked
from grading import states
from grading.compare import Difference, differences
from grading.models import (
    Approval,
    ApprovalLine,
    Autograding,
    Feedback,
    LineItem,
    Regrade,
    RegradeChange,
    Release,
    Submission,
    SubmissionAuthor,
)
from grading.pace import Pace, pace
from grading.regrade import USABLE

PAGE = 100


@dataclass(frozen=True)
class Attempt:
    """One attempt that has its scores. `counts`: it is the one that counts for somebody."""

    submission: Submission
    names: str
    counts: bool


def attempts(me: Member, assignment: Assignment) -> list[Attempt]:
    """Everything of the students that `me` looks after that could be graded again, by name.

    Three queries; where the best attempt counts, seven.
    """
    result = Autograding.objects.filter(submission=OuterRef("pk"), current=True)
    theirs = SubmissionAuthor.objects.filter(user__in=me.people(), submission__line_item=assignment.line_item_id)
    handed_in = list(
        strictly(Submission.objects)
        .select_related("line_item")
        .prefetch_related("authors")
        .filter(line_item=assignment.line_item_id, pk__in=theirs.values("submission"))
        .annotate(has_result=Exists(result))
        .order_by("received_at", "pk")
    )
    scores = scores_of(handed_in) if assignment.line_item.keep == LineItem.Keep.BEST else {}
    tries: dict[int, list[Submission]] = {}
    for one in handed_in:
        for author in one.authors.all():
            tries.setdefault(author.pk, []).append(one)
    counting = {counting_submission(assignment.line_item, mine, scores) for mine in tries.values()}
    found = [
        Attempt(one, names_of(one), one in counting)
        for one in handed_in
        if one.state in states.REVIEWABLE and one.has_result
    ]
    return sorted(found, key=lambda one: (one.names.casefold(), one.submission.attempt))


def names_of(submission: Submission) -> str:
    """Who handed it in; `authors` must have been fetched."""
    return ", ".join(sorted(author.get_full_name() for author in submission.authors.all()))


def versions(assignment: Assignment) -> list[Release]:
    """The versions whose tests can be tried, newest first. One query."""
    usable = strictly(Release.objects).select_related("author").filter(line_item=assignment.line_item_id)
    return list(usable.filter(state__in=USABLE, student__isnull=False).order_by("-number"))


def regrades(assignment: Assignment) -> list[Regrade]:
    """Earlier ones and the open one, newest first. One query."""
    found = strictly(Regrade.objects).select_related("release", "by", "decided_by")
    return list(found.filter(line_item=assignment.line_item_id).order_by("-pk"))


@dataclass(frozen=True)
class Line:
    """One difference. `returned`: its authors have their feedback, so they hear of a change."""

    difference: Difference
    names: str
    counts: bool
    returned: bool
    ticked: bool


#: What the list can be narrowed to.
_KINDS: Mapping[str, Callable[[Line], bool]] = {
    "news": lambda line: line.difference.moves or line.difference.needs_person,
    "moves": lambda line: line.difference.moves,
    "needing": lambda line: line.difference.needs_person,
    "kept": lambda line: line.difference.marks_named,
    "same": lambda line: not line.difference.moves and not line.difference.needs_person,
    "unticked": lambda line: not line.ticked,
}


@dataclass(frozen=True)
class Taking:
    """How far the newest approval is: of all its lines, how many count now, and how many had changed meanwhile."""

    approval: Approval
    all: int
    taken: int
    changed: int

    @property
    def done(self) -> int:
        """How many have ended, either way."""
        return self.taken + self.changed


@dataclass(frozen=True)
class Progress:
    """How far a regrade is. `taking` None: nothing was approved yet."""

    regrade: Regrade
    pace: Pace
    taking: Taking | None

    @property
    def being_taken(self) -> bool:
        """Whether what was approved is being taken over."""
        return self.regrade.state == Regrade.State.TAKING

    @property
    def deciding(self) -> bool:
        """Whether it can be decided now: open, and nothing is still to come or everything waits."""
        return self.regrade.state == Regrade.State.OPEN and (not self.pace.moving or self.paused)

    @property
    def paused(self) -> bool:
        """Whether it was stopped and nothing runs any more."""
        return self.regrade.stopped_at is not None and not self.pace.running

    @property
    def follows(self) -> bool:
        """Whether the page changes by itself."""
        if self.being_taken:
            return True
        return self.regrade.state == Regrade.State.OPEN and self.pace.moving and not self.paused


@dataclass(frozen=True)
class Page(Progress):
    """What it would change as well, what was taken over, and what came in since."""

    lines: Sequence[Line]
    changes: QuerySet[RegradeChange]
    newer: Sequence[Attempt]
    counted: Summary

    @property
    def counts(self) -> dict[str, int]:
        """How many lines there are of each kind that the list can be narrowed to."""
        return {which: len(self.narrowed(which)) for which in _KINDS} | {"counted": len(self.counted.students)}

    def narrowed(self, which: str, who: str = "") -> list[Line]:
        """The lines of one kind of `_KINDS`; of any other name those that move or need a person. `who`: of a name."""
        kind, wanted = _KINDS.get(which, _KINDS["news"]), who.strip().casefold()
        return [line for line in self.lines if kind(line) and wanted in line.names.casefold()]

    @property
    def ticked(self) -> int:
        """How many *approve all* takes over."""
        return sum(line.ticked for line in self.lines)

    @property
    def digest(self) -> str:
        """Names everything that was shown."""
        return digest(line.difference for line in self.lines)


def progress(regrade: Regrade) -> Progress:
    """How far it is now. Three queries."""
    return Progress(regrade, pace(regrade.candidates.all()), _taking(regrade))


def _taking(regrade: Regrade) -> Taking | None:
    """The newest approval. One query."""
    taken, changed = (
        Count("lines", filter=Q(lines__state=state)) for state in (ApprovalLine.State.TAKEN, ApprovalLine.State.CHANGED)
    )
    rows = strictly(Approval.objects).filter(regrade=regrade).annotate(n=Count("lines"), taken=taken, changed=changed)
    newest = rows.order_by("-pk").first()
    return None if newest is None else Taking(newest, newest.n, newest.taken, newest.changed)


def page(me: Member, assignment: Assignment, regrade: Regrade) -> Page:
    """The whole page: two dozen queries, however many students."""
    found = differences(regrade) if regrade.state == Regrade.State.OPEN else []
    wanted = ticked(regrade, found)
    there = attempts(me, assignment)
    in_it = set(regrade.candidates.values_list("submission", flat=True))
    changes = strictly(RegradeChange.objects).filter(autograding__regrade=regrade)
    return Page(
        regrade=regrade,
        pace=pace(regrade.candidates.all()),
        taking=_taking(regrade),
        lines=sorted(_lines(regrade, found, wanted, there), key=_first),
        changes=changes.select_related("submission", "by").prefetch_related("submission__authors").order_by("pk"),
        newer=[
            one
            for one in there
            if one.submission.pk not in in_it and one.counts and one.submission.received_at > regrade.created_at
        ],
        counted=counted(assignment.line_item, me.people(), wanted),
    )


def _lines(
    regrade: Regrade, found: Sequence[Difference], wanted: Sequence[Difference], there: Sequence[Attempt]
) -> Iterator[Line]:
    known = {one.submission.pk: one for one in there}
    returned = Feedback.objects.filter(
        submission__in=regrade.candidates.values("submission"), state=Feedback.State.RELEASED
    )
    told = set(returned.values_list("submission", flat=True))
    to_approve = {one.submission.pk for one in wanted}
    for one in found:
        key = one.submission.pk
        attempt = known.get(key)
        yield Line(
            difference=one,
            names=attempt.names if attempt else one.submission.code,
            counts=attempt is not None and attempt.counts,
            returned=key in told,
            ticked=key in to_approve,
        )


def _first(line: Line) -> tuple[bool, bool, object, str]:
    """What a person must look at first, then what moves, losses before gains, then the rest."""
    one = line.difference
    return not one.needs_person, not one.moves, one.moved, line.names.casefold()
