"""Releases, submissions, scores, marks and feedback.

Everything that was true once stays: releases and submissions are frozen, marks and comments are appended, an
autograding is replaced by a newer one and not overwritten.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runtimes.models import Profile, Snapshot

type CellKey = tuple[str, str]

POINTS: dict[str, Any] = {"max_digits": 9, "decimal_places": 4}
# No 0, 1, I, L, O or U: a receipt's code is read aloud and typed.
_CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"


def receipt_code() -> str:
    """A code like 7KQ2-M9TX-4RWD, unique for practical purposes (58 bits)."""
    letters = "".join(secrets.choice(_CODE_ALPHABET) for _ in range(12))
    return "-".join(letters[i : i + 4] for i in (0, 4, 8))


class LineItem(models.Model):
    """What is scored (OneRoster: line item). Holds how it is graded; when and for whom is the classroom's."""

    class Keep(models.TextChoices):
        LAST = "last", _("the last attempt counts")
        BEST = "best", _("the best attempt counts")

    class LatePolicy(models.TextChoices):
        NONE = "none", _("no penalty")
        ZERO = "zero", _("late work scores zero")
        PER_DAY = "per_day", _("a share a started day")
        CUSTOM = "custom", _("a table of your own")

    label = models.CharField(max_length=200)
    graded = models.BooleanField(default=True)
    profile = models.ForeignKey(Profile, on_delete=models.PROTECT, related_name="+")
    attempt_limit = models.PositiveIntegerField(null=True, blank=True)
    keep = models.CharField(max_length=5, choices=Keep, default=Keep.LAST)
    late_policy = models.CharField(max_length=8, choices=LatePolicy, default=LatePolicy.NONE)
    late_percent_per_day = models.DecimalField(max_digits=5, decimal_places=2, default=10)
    late_cap_percent = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)
    late_floor_percent = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)
    # Rows of `grading.late.steps_of`.
    late_steps = models.JSONField(default=list, blank=True)
    # Days late are counted by a clock there.
    time_zone = models.CharField(max_length=60, default="UTC")
    grace = models.DurationField(default=timedelta(0))
    cell_timeout = models.DurationField(default=timedelta(seconds=30))
    wall_timeout = models.DurationField(default=timedelta(minutes=10))
    output_bytes = models.BigIntegerField(default=20 * 1024 * 1024)
    #: Scores exactly as `nbgrader autograde` gives them; the two below hold only without it.
    strict_nbgrader = models.BooleanField(default=False)
    heal = models.BooleanField(default=True)
    warnings_cost = models.BooleanField(default=False)
    #: *Check* by students: how often a piece of work may be checked (None: any number), and how soon again.
    check_limit = models.PositiveIntegerField(null=True, blank=True, default=50)
    check_cooldown = models.DurationField(default=timedelta(seconds=20))
    show_hidden_tests = models.BooleanField(default=False)
    #: Also of cells that ran after a hidden test: see `engine/shown.py` for what that may show.
    show_all_outputs = models.BooleanField(default=False)
    # While this is set, nothing that waits is taken; what runs goes on to its end.
    grading_stopped_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.label


class Release(models.Model):
    """One immutable, numbered version of an assignment's notebooks and data."""

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        CHECKING = "checking", _("being checked")
        CHECKED = "checked", _("checked")
        BROKEN = "broken", _("has problems")
        PUBLISHED = "published", _("published")

    line_item = models.ForeignKey(LineItem, on_delete=models.PROTECT, related_name="releases")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    source = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="+")
    student = models.ForeignKey(Snapshot, null=True, on_delete=models.PROTECT, related_name="+")
    problems = models.JSONField(default=list, blank=True)
    engine_settings = models.JSONField(default=dict, blank=True)
    max_score = models.DecimalField(**POINTS, default=0)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    published_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["line_item", "number"], name="one_release_a_number"),
        ]

    def __str__(self) -> str:
        return f"{self.line_item} · {self.number}"


class ReleaseNotebook(models.Model):
    """One notebook of a release. `cells` is the engine's own spec: nbgrader's source cells by grade_id."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="notebooks")
    name = models.CharField(max_length=200)
    path = models.CharField(max_length=500)
    kernelspec = models.JSONField(default=dict)
    cells = models.JSONField(default=dict)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["release", "name"], name="one_notebook_a_name"),
        ]
        ordering: ClassVar = ["position", "name"]

    def __str__(self) -> str:
        return self.path


class GradeCell(models.Model):
    """A cell that carries points or a written answer (nbgrader: grade, solution or task cell)."""

    class Kind(models.TextChoices):
        TESTS = "tests", _("autograded tests")
        MANUAL = "manual", _("manually graded answer")
        TASK = "task", _("manually graded task")
        ANSWER = "answer", _("autograded answer")

    notebook = models.ForeignKey(ReleaseNotebook, on_delete=models.CASCADE, related_name="grade_cells")
    grade_id = models.CharField(max_length=200)
    kind = models.CharField(max_length=8, choices=Kind)
    cell_type = models.CharField(max_length=10)
    max_score = models.DecimalField(**POINTS, default=0)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["notebook", "grade_id"], name="one_cell_a_grade_id"),
        ]
        ordering: ClassVar = ["notebook__position", "position"]

    def __str__(self) -> str:
        return self.grade_id

    @property
    def key(self) -> CellKey:
        """What makes it the same cell in another version. Its notebook must have been fetched."""
        return self.notebook.name, self.grade_id


class ReleaseCheck(models.Model):
    """The run of a release's own solution in the sandbox."""

    class State(models.TextChoices):
        QUEUED = "queued", _("waiting")
        RUNNING = "running", _("running")
        PASSED = "passed", _("full marks")
        FAILED = "failed", _("a test failed")
        ERROR = "error", _("could not run")

    release = models.OneToOneField(Release, on_delete=models.CASCADE, related_name="check_run")
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    results = models.JSONField(default=list, blank=True)
    message = models.TextField(blank=True)
    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    lease_owner = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return f"{self.release} ({self.state})"


class WorkCheck(models.Model):
    """A run of the tests that students see, over their work as it was at that moment. Scores nothing.

    `account` says whose work it is, in the asker's words: checks are counted by it.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("waiting")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("could not run")

    account = models.CharField(max_length=64)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    results = models.JSONField(default=list, blank=True)
    failures = models.JSONField(default=list, blank=True)
    lacking = models.JSONField(default=list, blank=True)
    tries = models.PositiveIntegerField(default=0)
    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    lease_owner = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account"], condition=Q(state__in=["queued", "running"]), name="one_open_check"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["account", "-id"]), models.Index(fields=["state", "queued_at"])]

    def __str__(self) -> str:
        return f"{self.account} ({self.state})"


class Submission(models.Model):
    """What was handed in: frozen files, the server's time, a receipt."""

    class State(models.TextChoices):
        QUEUED = "queued", _("waiting to be graded")
        GRADING = "grading", _("being graded")
        GRADED = "graded", _("graded")
        TO_REVIEW = "to_review", _("to be reviewed")
        FAILED = "failed", _("could not be graded")
        REVIEWED = "reviewed", _("reviewed")

    line_item = models.ForeignKey(LineItem, on_delete=models.PROTECT, related_name="submissions")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="submissions")
    # The version whose tests and points count where they are not its own's: see `Regrade`.
    correction = models.ForeignKey(Release, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="+")
    authors = models.ManyToManyField(settings.AUTH_USER_MODEL, through="SubmissionAuthor", related_name="submissions")
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    attempt = models.PositiveIntegerField()
    authors_key = models.CharField(max_length=200)
    request_key = models.CharField(max_length=64)
    code = models.CharField(max_length=20, unique=True, default=receipt_code)
    received_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(null=True)
    late_by = models.DurationField(default=timedelta(0))
    # The machine did not answer: what code wrote last may be missing. left_out: path → why it is not among the files.
    files_may_lack = models.BooleanField(default=False)
    left_out = models.JSONField(default=dict, blank=True)
    finished_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["line_item", "authors_key", "request_key"], name="one_submission_a_request"
            ),
            models.UniqueConstraint(fields=["line_item", "authors_key", "attempt"], name="one_submission_an_attempt"),
        ]
        indexes: ClassVar = [models.Index(fields=["line_item", "state"])]

    def __str__(self) -> str:
        return self.code

    @property
    def scored_by(self) -> Release:
        """The version whose cells, tests and points count; `release` stays the one that the student worked on."""
        return self.correction or self.release

    @property
    def scored_by_id(self) -> int:
        """The key of `scored_by`."""
        return self.correction_id or self.release_id


class SubmissionAuthor(models.Model):
    """Who handed it in. A group's members are all authors."""

    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="authorships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="authorships")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["submission", "user"], name="one_authorship"),
        ]

    def __str__(self) -> str:
        return f"{self.submission_id} {self.user_id}"


class Regrade(models.Model):
    """Other tests or points tried on work that has its scores: candidates first, then what a teacher takes of them.

    Its autogradings count nowhere until they are approved one by one. `release` None: each by the version that counts
    for it already, in today's environment. What is handed in after `holds_from` is scored by `release`, too.
    """

    class State(models.TextChoices):
        OPEN = "open", _("waiting for a decision")
        TAKING = "taking", _("being taken over")
        DONE = "done", _("decided")
        REJECTED = "rejected", _("rejected")

    line_item = models.ForeignKey(LineItem, on_delete=models.PROTECT, related_name="regrades")
    release = models.ForeignKey(Release, null=True, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    reason = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    stopped_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True)
    holds_from = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["line_item"], condition=Q(state__in=["open", "taking"]), name="one_open_regrade"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.line_item} ({self.state})"


class Autograding(models.Model):
    """One run of the engine over a submission. The newest finished one is current, but for those of a regrade."""

    class State(models.TextChoices):
        QUEUED = "queued", _("waiting")
        RUNNING = "running", _("running")
        FINISHED = "finished", _("finished")
        FAILED = "failed", _("failed")
        PARKED = "parked", _("set aside")

    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="autogradings")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    regrade = models.ForeignKey(Regrade, null=True, on_delete=models.PROTECT, related_name="candidates")
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    current = models.BooleanField(default=False)
    tries = models.PositiveIntegerField(default=0)
    environment_digest = models.CharField(max_length=80, blank=True)
    engine_version = models.CharField(max_length=80, blank=True)
    result = models.ForeignKey(Snapshot, null=True, on_delete=models.PROTECT, related_name="+")
    failures = models.JSONField(default=list, blank=True)
    notes = models.JSONField(default=list, blank=True)
    log = models.TextField(blank=True)
    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    lease_owner = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["submission"], condition=Q(current=True), name="one_current_autograding"),
            models.UniqueConstraint(
                fields=["submission"],
                condition=Q(state__in=["queued", "running"], regrade=None),
                name="one_open_autograding",
            ),
            models.UniqueConstraint(fields=["regrade", "submission"], name="one_candidate_a_regrade"),
        ]
        indexes: ClassVar = [models.Index(fields=["state", "queued_at"])]

    def __str__(self) -> str:
        return f"{self.submission_id} ({self.state})"


class RegradeChange(models.Model):
    """A candidate that was approved: what it took the place of, and the totals that its authors had and have."""

    autograding = models.OneToOneField(Autograding, on_delete=models.PROTECT, related_name="change")
    replaced = models.ForeignKey(Autograding, on_delete=models.PROTECT, related_name="+")
    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="changes")
    old_score = models.DecimalField(**POINTS)
    new_score = models.DecimalField(**POINTS)
    reason = models.TextField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.submission_id}: {self.old_score} → {self.new_score}"


class RegradeTick(models.Model):
    """Whether a candidate is to be approved, as somebody said. Without a row: unless a person would have to look."""

    regrade = models.ForeignKey(Regrade, on_delete=models.CASCADE, related_name="ticks")
    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="+")
    ticked = models.BooleanField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["regrade", "submission"], name="one_tick_a_submission"),
        ]

    def __str__(self) -> str:
        return f"{self.submission_id} ({self.ticked})"


class Approval(models.Model):
    """What a teacher chose to take over of a regrade. The regrade is `TAKING` until every line has ended.

    `lease_until` keeps two workers from the same lines; that each counts once does not depend on it.
    """

    regrade = models.ForeignKey(Regrade, on_delete=models.PROTECT, related_name="approvals")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["regrade"], condition=Q(ended_at=None), name="one_approval_under_way"),
        ]

    def __str__(self) -> str:
        return f"{self.regrade_id} ({self.by_id})"


class ApprovalLine(models.Model):
    """One candidate of an approval. `fingerprint` names the difference that the teacher saw."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        TAKEN = "taken", _("taken over")
        CHANGED = "changed", _("changed since it was shown")

    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="lines")
    candidate = models.ForeignKey(Autograding, on_delete=models.PROTECT, related_name="+")
    fingerprint = models.CharField(max_length=16)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["approval", "candidate"], name="one_line_a_candidate"),
        ]
        indexes: ClassVar = [models.Index(fields=["approval", "state"])]

    def __str__(self) -> str:
        return f"{self.candidate_id} ({self.state})"


class CellScore(models.Model):
    """nbgrader's result for one cell: `auto_score` may be None, which means that a person must look."""

    autograding = models.ForeignKey(Autograding, on_delete=models.CASCADE, related_name="scores")
    cell = models.ForeignKey(GradeCell, on_delete=models.PROTECT, related_name="+")
    auto_score = models.DecimalField(**POINTS, null=True)
    needs_manual_grade = models.BooleanField(default=False)
    auto_comment = models.TextField(blank=True)
    failed_tests = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["autograding", "cell"], name="one_score_a_cell"),
        ]

    def __str__(self) -> str:
        return f"{self.cell_id}: {self.auto_score}"


class AboutCells[M: models.Model](models.QuerySet[M]):
    """Marks and comments. A cell is the same cell in every version that has it: by notebook and grade_id."""

    def about(self, cell: GradeCell) -> AboutCells[M]:
        """Those about this cell, also where they were given when another version counted."""
        return self.filter(cell__grade_id=cell.grade_id, cell__notebook__name=cell.notebook.name)


class Mark(models.Model):
    """What a person gave a cell. Appended; the newest one counts. `manual_score` None takes an earlier one back."""

    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="marks")
    cell = models.ForeignKey(GradeCell, on_delete=models.PROTECT, related_name="+")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    manual_score = models.DecimalField(**POINTS, null=True)
    extra_credit = models.DecimalField(**POINTS, null=True)
    created_at = models.DateTimeField(default=timezone.now)
    objects = AboutCells["Mark"].as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["submission", "cell", "-id"])]

    def __str__(self) -> str:
        return f"{self.cell_id}: {self.manual_score}"


class Comment(models.Model):
    """Markdown that a person wrote about a cell. Appended; the newest one counts, an empty one takes it back."""

    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="comments")
    cell = models.ForeignKey(GradeCell, on_delete=models.PROTECT, related_name="+")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    text = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    objects = AboutCells["Comment"].as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["submission", "cell", "-id"])]

    def __str__(self) -> str:
        return self.text[:40]


class Feedback(models.Model):
    """Whether a submission's scores and comments may be read by its authors."""

    class State(models.TextChoices):
        RELEASED = "released", _("released")
        WITHDRAWN = "withdrawn", _("taken back")

    submission = models.OneToOneField(Submission, on_delete=models.PROTECT, related_name="feedback")
    state = models.CharField(max_length=10, choices=State, default=State.RELEASED)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.submission_id} ({self.state})"
