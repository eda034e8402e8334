"""What the bar above a notebook says: the machine and its kernels, what is saved, what was handed in, time left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from django.utils import timezone
from django.utils.translation import gettext, pgettext

from classroom import attempts, deadlines
from classroom.deadlines import Dates
from classroom.machine_trouble import in_vain
from classroom.models import Work
from classroom.people.models import User
from classroom.queries import strictly
from classroom.queries.machine_notes import Note, notes
from classroom.queries.policy import policy
from classroom.queries.study import released
from classroom.queries.waiting import estimate_words
from grading.engine.contract import Json
from grading.explain import FINDINGS, explain
from grading.models import ReleaseNotebook, Submission
from grading.recognise import NOT_RESTORABLE, differences
from grading.states import UNDER_WAY
from runtimes import queue
from runtimes.describe import not_brought, not_kept, sentence
from runtimes.fallback import offered
from runtimes.jupyter import document
from runtimes.models import Kernel, Profile, Runtime, Session
from runtimes.status import ISOLATION_WORDS, MOVES, Reason


class Machine(StrEnum):
    """How the runtime is, in one word for people."""

    NONE = "none"
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


_MACHINE = {
    Runtime.State.QUEUED: Machine.WAITING,
    Runtime.State.STARTING: Machine.STARTING,
    Runtime.State.READY: Machine.RUNNING,
    Runtime.State.STOPPING: Machine.STOPPING,
    Runtime.State.STOPPED: Machine.STOPPED,
    Runtime.State.LOST: Machine.FAILED,
    Runtime.State.FAILED: Machine.FAILED,
}

A_MOMENT = timedelta(seconds=4)
A_WHILE = timedelta(minutes=10)
_ON_ITS_WAY = (Runtime.State.QUEUED, Runtime.State.STARTING, Runtime.State.STOPPING)


@dataclass(frozen=True)
class KernelLine:
    """One kernel of the runtime, with the notebook that uses it ("" for none)."""

    kernel: Kernel
    path: str

    @property
    def word(self) -> str:
        """The kernel's state for people: busy or idle while it runs."""
        if self.kernel.state != Kernel.State.RUNNING:
            return str(self.kernel.get_state_display())
        return gettext("busy") if self.kernel.execution_state == "busy" else gettext("idle")


@dataclass(frozen=True)
class BarState:
    """Everything that the bar polls for. `waiting` says what a runtime that is not ready waits for, and its place;
    `estimate` about how long, once somebody has waited for a moment; `fallback` what they may use at once. `before` is
    the workspace's former runtime."""

    machine: Machine
    runtime: Runtime | None
    kernels: Sequence[KernelLine]
    waiting: str
    estimate: str
    before: Runtime | None
    notes: Sequence[Note]
    fallback: Profile | None
    saved: document.DocumentState
    due_at: datetime | None
    closes_at: datetime | None
    is_open: bool
    submissions: Sequence[Submission]
    attempts_left: int | None
    own_date: bool = False
    attempt_limit: int | None = None
    policy: Sequence[str] = ()

    @property
    def latest(self) -> Submission | None:
        """What was handed in last."""
        return self.submissions[-1] if self.submissions else None

    @property
    def returned(self) -> bool:
        """Whether its feedback may be read."""
        return self.latest is not None and released(self.latest)

    @property
    def dead(self) -> KernelLine | None:
        """A kernel that ended without being asked to, if there is one."""
        return next((line for line in self.kernels if line.kernel.state == Kernel.State.DEAD), None)

    @property
    def moved(self) -> bool:
        """Whether it took the place of one that was taken away: the frame then needs a kernel there."""
        before, runtime = self.before, self.runtime
        if before is None or runtime is None or before.reason not in MOVES or before.stopped_at is None:
            return False
        return runtime.requested_at < before.stopped_at + A_WHILE

    @property
    def busy(self) -> bool:
        """Whether any kernel runs something."""
        return any(line.kernel.execution_state == "busy" for line in self.kernels)

    @property
    def waits_long(self) -> bool:
        """Whether somebody looks at a page without a machine long enough to wonder why."""
        return self.runtime is not None and _waits_long(self.runtime)

    @property
    def not_kept(self) -> list[str]:
        """Sentences about files on the machine's disk that are not kept, or were not; it may be gone by now."""
        runtime = self.runtime
        return [*not_brought(runtime.not_brought), *not_kept(runtime.left_out)] if runtime is not None else []

    @property
    def moving(self) -> bool:
        """Whether something changes by itself soon, so that asking again shortly is right."""
        waiting = self.machine in (Machine.WAITING, Machine.STARTING, Machine.STOPPING)
        return waiting or (self.latest is not None and self.latest.state in UNDER_WAY)


def _waiting(runtime: Runtime, position: int | None) -> str:
    """What it waits for, and who hears of it where that does not come."""
    why = sentence(runtime, position)
    return _and_who_is_told(why) if in_vain(runtime) else why


def _and_who_is_told(why: str) -> str:
    """classroom/machine_trouble.py tells them."""
    told = gettext("Your teachers are told.")
    return f"{why} {told}"


def _waits_long(runtime: Runtime) -> bool:
    on_its_way = runtime.state in (Runtime.State.QUEUED, Runtime.State.STARTING)
    return on_its_way and runtime.requested_at < timezone.now() - A_MOMENT


def notebooks(work: Work) -> list[str]:
    """The paths of the release's notebooks, in order; those of the workspace where the release names none."""
    paths = list(ReleaseNotebook.objects.filter(release=work.release_id).values_list("path", flat=True))
    if not paths:
        rows = work.workspace.files.filter(path__endswith=".ipynb").order_by("path")
        paths = list(rows.values_list("path", flat=True))
    return paths


def bar_state(work: Work, user: User, terms: Dates) -> BarState:
    """The state now, in four queries at most; in four more for who waits in the queue. `terms`: what holds for the
    person."""
    runtimes = strictly(Runtime.objects).select_related("profile__fallback").filter(workspace=work.workspace)
    runtime, before = (*runtimes.order_by("-pk")[:2], None, None)[:2]
    kernels, now = _kernels(runtime), timezone.now()
    live = runtime is not None and runtime.state in Runtime.LIVE
    outlook = queue.outlook(runtime) if runtime and _waits_long(runtime) else None
    position = outlook.position if outlook else None
    submissions = _submissions(work, user)
    limit = attempts.limit(work.assignment.line_item, terms)
    used = attempts.used(work, user, submissions)
    return BarState(
        machine=_MACHINE[Runtime.State(runtime.state)] if runtime else Machine.NONE,
        runtime=runtime,
        kernels=kernels,
        before=before,
        notes=notes(runtime, before, [line.kernel for line in kernels], work.workspace.profile, now)
        if runtime and live
        else [],
        fallback=offered(runtime) if runtime else None,
        waiting=_waiting(runtime, position) if runtime and runtime.state in _ON_ITS_WAY else "",
        estimate=estimate_words(outlook) if outlook else "",
        saved=document.state(work.workspace),
        due_at=terms.due_at,
        closes_at=terms.closes_at,
        own_date=terms.own,
        is_open=deadlines.is_open(work.assignment, terms, now),
        submissions=submissions,
        attempts_left=None if limit is None else max(limit - used, 0),
        attempt_limit=limit,
        policy=policy(work.assignment, terms, used),
    )


@dataclass(frozen=True)
class Findings:
    """What of the assignment is missing or changed, in sentences; whether *Restore* puts some of it right; and copies
    that might be used instead of the notebook that is graded: path, copy and the copy's sha256."""

    sentences: Sequence[str] = field(default_factory=list)
    restorable: bool = False
    copies: Sequence[Json] = ()

    def __bool__(self) -> bool:
        return bool(self.sentences)


def findings(work: Work) -> Findings:
    """Those in the work as it is saved now. Two queries."""
    if not work.assignment.line_item.graded:
        return Findings()
    return _found(work, dict(work.workspace.files.values_list("path", "blob_id")))


def findings_in(submission: Submission, work: Work) -> Findings:
    """The same of what was handed in."""
    return _found(work, dict(submission.snapshot.files.values_list("path", "blob_id")))


def _found(work: Work, tree: dict[str, str]) -> Findings:
    rows = differences(work.release.student_id, tree)
    return Findings(
        [explain(FINDINGS, row) for row in rows],
        any(row["code"] not in NOT_RESTORABLE for row in rows),
        [row for row in rows if "copy" in row],
    )


def told(bar: BarState) -> str:
    """Why nothing can run at the moment, and what to do; "" while all is well or on its way."""
    if bar.dead is not None:
        return sentence(bar.dead.kernel)
    if bar.runtime is not None and bar.machine in (Machine.STOPPED, Machine.FAILED):
        why = sentence(bar.runtime)
        return _and_who_is_told(why) if bar.runtime.reason == Reason.IMAGE_PULL else why
    return ""


def isolation_words(runtime: Runtime | None) -> str:
    """What keeps this runtime apart from others, in words; "" while nothing runs."""
    if runtime is None or runtime.state != Runtime.State.READY:
        return ""
    codes = runtime.isolation.replace(",", " ").split()
    return pgettext("between the parts of an enumeration", "; ").join(
        str(ISOLATION_WORDS[code]) for code in codes if code in ISOLATION_WORDS
    )


def _kernels(runtime: Runtime | None) -> list[KernelLine]:
    if runtime is None or runtime.state not in Runtime.LIVE:
        return []
    kernels = list(Kernel.objects.filter(runtime=runtime).exclude(state=Kernel.State.STOPPING).order_by("index"))
    for kernel in kernels:
        kernel.runtime = runtime
    paths = dict(Session.objects.filter(kernel__in=kernels).values_list("kernel_id", "path"))
    # A dead kernel that no notebook uses any more has been replaced.
    return [
        KernelLine(kernel, paths.get(kernel.pk, ""))
        for kernel in kernels
        if kernel.state != Kernel.State.DEAD or kernel.pk in paths
    ]


def _submissions(work: Work, user: User) -> list[Submission]:
    if work.preview or not work.assignment.line_item.graded:
        return []
    return list(
        Submission.objects.select_related("feedback")
        .filter(line_item=work.assignment.line_item_id, authorships__user=user)
        .order_by("received_at", "pk")
    )
