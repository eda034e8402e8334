"""Courses, assignments, who is in them, and the work they do."""

from __future__ import annotations

import secrets
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from classroom.people.models import validate_time_zone
from grading.models import LineItem, Release, Submission
from runtimes.models import Profile, Workspace


class Course(models.Model):
    """A class in a term. Its time zone is the one due dates are said in."""

    slug = models.SlugField(_("short name"), max_length=60, unique=True)
    title = models.CharField(_("title"), max_length=200)
    term = models.CharField(_("term"), max_length=60, blank=True)
    time_zone = models.CharField(_("time zone"), max_length=60, default="UTC", validators=[validate_time_zone])
    # Beside those that are for all courses.
    profiles = models.ManyToManyField(Profile, blank=True, related_name="+", verbose_name=_("machines"))
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.title


class Section(models.Model):
    """A part of a course that a TA looks after."""

    course = models.ForeignKey(Course, on_delete=models.PROTECT, related_name="sections")
    name = models.CharField(_("name"), max_length=60)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["course", "name"], name="one_section_a_name"),
        ]
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Enrollment(models.Model):
    """A person's part in a course. Never deleted: it gets a state."""

    class Role(models.TextChoices):
        TEACHER = "teacher", _("teacher")
        TA = "ta", _("teaching assistant")
        READER = "reader", _("reader")
        STUDENT = "student", _("student")

    class State(models.TextChoices):
        INVITED = "invited", _("invited")
        ACTIVE = "active", _("active")
        DROPPED = "dropped", _("dropped")

    course = models.ForeignKey(Course, on_delete=models.PROTECT, related_name="enrollments")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="enrollments")
    section = models.ForeignKey(Section, null=True, blank=True, on_delete=models.PROTECT, related_name="enrollments")
    role = models.CharField(_("role"), max_length=8, choices=Role)
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.ACTIVE)
    # A standing accommodation: later dates in every assignment of the course (`deadlines.Allowance`).
    extra_time_percent = models.PositiveIntegerField(_("extra time (%)"), default=0)
    extra_days = models.PositiveSmallIntegerField(_("extra days"), default=0)
    extra_hours = models.PositiveSmallIntegerField(_("extra hours"), default=0)
    # What other systems call this person in this course (nbgrader: Student.id and Student.lms_user_id).
    student_id = models.CharField(_("student id"), max_length=128, blank=True)
    lms_user_id = models.CharField(_("LMS user id"), max_length=128, blank=True)
    joined_at = models.DateTimeField(default=timezone.now)
    left_at = models.DateTimeField(null=True, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["course", "user"], name="one_enrollment_a_person"),
            models.UniqueConstraint(
                fields=["course", "student_id"], condition=~Q(student_id=""), name="one_enrollment_a_student_id"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.role}"


class Assignment(models.Model):
    """An assignment or a tutorial (`line_item.graded` tells which) on a course page."""

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        SCHEDULED = "scheduled", _("scheduled")
        OPEN = "open", _("open")
        CLOSED = "closed", _("closed")

    course = models.ForeignKey(Course, on_delete=models.PROTECT, related_name="assignments")
    slug = models.SlugField(_("short name"), max_length=60)
    title = models.CharField(_("title"), max_length=200)
    unit = models.CharField(_("unit"), max_length=100, blank=True)
    position = models.PositiveIntegerField(default=0)
    line_item = models.OneToOneField(LineItem, on_delete=models.PROTECT, related_name="+")
    profile = models.ForeignKey(Profile, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    release = models.ForeignKey(Release, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    next_release = models.ForeignKey(Release, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    publish_at = models.DateTimeField(_("publish at"), null=True, blank=True)
    # When students could first open it: what a share of extra time is a share of.
    opened_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(_("due"), null=True, blank=True)
    closes_at = models.DateTimeField(_("closes"), null=True, blank=True)
    hide_scores = models.BooleanField(_("hide scores until feedback is released"), default=False)
    group_size = models.PositiveIntegerField(_("group size"), default=1)
    groups_by_students = models.BooleanField(_("students form groups themselves"), default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["course", "slug"], name="one_assignment_a_slug"),
        ]
        ordering: ClassVar = ["position", "id"]

    def __str__(self) -> str:
        return self.title


class Extension(models.Model):
    """A later due date for one person, more attempts, or both. `due_at` None: everyone's date holds."""

    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="extensions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="extensions")
    due_at = models.DateTimeField(_("due"), null=True, blank=True)
    more_attempts = models.PositiveSmallIntegerField(_("more attempts"), default=0)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["assignment", "user"], name="one_extension_a_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.due_at:%Y-%m-%d %H:%M}" if self.due_at else f"{self.user}: +{self.more_attempts}"


# No 0, 1, I, L, O or U: it is read aloud and typed.
_CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"


def join_code() -> str:
    """What students tell each other to come into one group, like 7KQ2M9: one of 729 million."""
    return "".join(secrets.choice(_CODE_ALPHABET) for _ in range(6))


class Group(models.Model):
    """Students who do one assignment together."""

    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="groups")
    name = models.CharField(_("name"), max_length=100)
    join_code = models.CharField(max_length=12, default=join_code)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="GroupMember", related_name="work_groups")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["assignment", "name"], name="one_group_a_name"),
            models.UniqueConstraint(fields=["assignment", "join_code"], name="one_group_a_code"),
        ]

    def __str__(self) -> str:
        return self.name


class GroupMember(models.Model):
    """Who is in a group. One group a person and assignment."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="memberships")
    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="group_memberships")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["assignment", "user"], name="one_group_a_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.group}"


class Work(models.Model):
    """One person's or group's copy of an assignment, made on first open. `preview` is a teacher's own try."""

    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="works")
    workspace = models.OneToOneField(Workspace, on_delete=models.PROTECT, related_name="+")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    group = models.OneToOneField(Group, null=True, blank=True, on_delete=models.PROTECT, related_name="work")
    preview = models.BooleanField(default=False)
    opened_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.assignment} · {self.workspace}"


class WorkMember(models.Model):
    """Who works on it. One work a person and assignment; a preview apart."""

    work = models.ForeignKey(Work, on_delete=models.PROTECT, related_name="members")
    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="work_memberships")
    # Repeats `work.preview`, so that someone who was a student and now teaches keeps the old work beside the try.
    preview = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["assignment", "user", "preview"], name="one_work_a_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.assignment}"


class ReviewVisit(models.Model):
    """Who looks at a submission in review, and when last: two people marking one piece of work are told at once."""

    submission = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["submission", "user"], name="one_visit_a_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.submission_id}"


class DriveCopy(models.Model):
    """Where one file of a work was copied to. `target` is a folder path or a Drive file id."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        COPIED = "copied", _("copied")
        FAILED = "failed", _("failed")

    work = models.ForeignKey(Work, on_delete=models.PROTECT, related_name="drive_copies")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    path = models.CharField(max_length=500)
    target = models.CharField(max_length=1000, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    message = models.TextField(blank=True)
    copied_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["work", "user", "path"], name="one_copy_a_file"),
        ]

    def __str__(self) -> str:
        return f"{self.path} ({self.state})"


class Outbox(models.Model):
    """Something to do outside, written in the transaction that decided it. `key` makes it happen once."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        TAKEN = "taken", _("being sent")
        DONE = "done", _("sent")
        FAILED = "failed", _("failed")

    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=200, unique=True)
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    tries = models.PositiveIntegerField(default=0)
    message = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    not_before = models.DateTimeField(default=timezone.now)
    lease_until = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["not_before"], condition=Q(state="waiting"), name="outbox_waiting"),
        ]
        verbose_name_plural = _("outbox")

    def __str__(self) -> str:
        return f"{self.kind} {self.key} ({self.state})"
