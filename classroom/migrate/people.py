"""nbgrader's students as people of the course: found again by id or email, otherwise made and invited."""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from classroom.migrate.report import Report
from classroom.models import Course, Enrollment
from classroom.people.models import User
from classroom.roster import free_username, users_by_email
from grading.engine.gradebook_values import BookStudent

Role = Enrollment.Role
State = Enrollment.State
# RFC 2606: no mail can go there. The teacher puts the real address in its place.
NO_ADDRESS = "invalid"


def take_students(course: Course, students: Iterable[BookStudent], report: Report) -> dict[str, User]:
    """The person for each student id, enrolled. Whoever is in the course already keeps their role and state.

    An id is recognised by what an earlier import noted, then by its email, then as the user name of somebody in the
    course; otherwise an account is made that only an invitation opens.
    """
    wanted = {student.id: student for student in students}
    enrollments = list(Enrollment.objects.select_related("user").filter(course=course))
    by_id = {one.student_id: one for one in enrollments if one.student_id}
    by_user = {one.user_id: one for one in enrollments}
    by_name = {one.user.username: one.user for one in enrollments}
    emails = {student.id: _email(course, student, report) for student in wanted.values()}
    known = users_by_email(emails.values())
    taken = set(User.objects.values_list("username", flat=True)) if wanted.keys() - by_id.keys() else set()
    found: dict[str, User] = {}
    with transaction.atomic():
        for student in wanted.values():
            if student.id in by_id:
                found[student.id] = by_id[student.id].user
                continue
            email = emails[student.id]
            user = known.get(email) or by_name.get(student.id) or _account(student, email, taken, report)
            other = by_user.get(user.pk)
            if other is not None and other.student_id:
                report.remark(student.id, f"is the same person as {other.student_id}: {user.email}")
            else:
                by_user[user.pk] = _enroll(course, user, student, other, report)
            found[student.id] = user
    return found


def _email(course: Course, student: BookStudent, report: Report) -> str:
    """A lowered address, made up where there is none that could be one."""
    if email := student.email.strip().lower():
        try:
            validate_email(email)
            return email
        except ValidationError:
            report.remark(student.id, f"the email {email[:80]!r} is none")
    name = re.sub(r"[^a-z0-9._-]+", "-", student.id.lower()).strip(".-")[:60] or "student"
    return f"{name}@{course.slug.lower()}.{NO_ADDRESS}"


def _account(student: BookStudent, email: str, taken: set[str], report: Report) -> User:
    username = free_username(student.id, taken)
    taken.add(username)
    report.count("accounts made")
    name = " ".join(filter(None, [student.first_name.strip(), student.last_name.strip()]))
    return User.objects.create(
        username=username,
        email=email,
        display_name=(name or student.id)[:200],
        first_name=student.first_name[:150],
        last_name=student.last_name[:150],
        password=make_password(None),
    )


def _enroll(
    course: Course, user: User, student: BookStudent, enrollment: Enrollment | None, report: Report
) -> Enrollment:
    if enrollment is None:
        enrollment = Enrollment(course=course, user=user, role=Role.STUDENT, state=State.INVITED)
        report.count("students enrolled")
    enrollment.student_id, enrollment.lms_user_id = student.id, student.lms_user_id
    enrollment.save()
    return enrollment
