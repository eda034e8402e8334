"""Who may do what: the whole table."""

from __future__ import annotations

import pytest

from classroom.access import Act, in_section, may
from classroom.models import Enrollment

Role, State = Enrollment.Role, Enrollment.State

TABLE = {
    Act.READ: {Role.TEACHER, Role.TA, Role.READER, Role.STUDENT},
    Act.LAUNCH: {Role.READER, Role.STUDENT},
    Act.SUBMIT: {Role.STUDENT},
    Act.REVIEW: {Role.TEACHER, Role.TA},
    Act.RELEASE: {Role.TEACHER, Role.TA},
    Act.GRADEBOOK: {Role.TEACHER, Role.TA},
    Act.PREVIEW: {Role.TEACHER, Role.TA},
    Act.AUTHOR: {Role.TEACHER},
    Act.PEOPLE: {Role.TEACHER},
}


def test_the_table_names_every_act():
    assert set(TABLE) == set(Act)


@pytest.mark.parametrize("act", list(Act))
@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_do_what_the_table_says(role: str, act: Act):
    assert may(role, State.ACTIVE, act) == (role in TABLE[act])
    assert may(role, State.INVITED, act) == (role in TABLE[act])


@pytest.mark.parametrize("act", list(Act))
@pytest.mark.parametrize("role", list(Role))
def test_who_was_dropped_may_do_nothing(role: str, act: Act):
    assert not may(role, State.DROPPED, act)


def test_an_unknown_role_may_do_nothing():
    assert not any(may("boss", State.ACTIVE, act) for act in Act)


def test_a_ta_with_a_section_looks_after_that_section_only():
    assert in_section(role=Role.TA, section_id=1, other_section_id=1)
    assert not in_section(role=Role.TA, section_id=1, other_section_id=2)
    assert not in_section(role=Role.TA, section_id=1, other_section_id=None)


def test_a_ta_without_a_section_and_a_teacher_look_after_everyone():
    assert in_section(role=Role.TA, section_id=None, other_section_id=2)
    assert in_section(role=Role.TEACHER, section_id=1, other_section_id=2)


def test_students_and_readers_look_after_nobody():
    assert not in_section(role=Role.STUDENT, section_id=1, other_section_id=1)
    assert not in_section(role=Role.READER, section_id=None, other_section_id=1)
