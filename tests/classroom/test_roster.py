"""A class list: what is read, what is shown, what is applied."""

from __future__ import annotations

import pytest

from classroom import roster
from classroom.models import Course, Enrollment
from classroom.people.models import User
from classroom.roster_read import decode, read

Role, State = Enrollment.Role, Enrollment.State

FRAN = "fran@example.org"


def problems(text: str) -> dict[int, str]:
    return {line.number: line.problem for line in read(text).wrong}


def planned(course: Course, text: str, by: User) -> roster.Plan:
    return roster.plan(course, read(text), by)


def applied(course: Course, text: str, by: User, drop=()) -> roster.Applied:
    return roster.apply(course, read(text), by=by, digest=planned(course, text, by).digest, drop=drop)


class TestReading:
    def test_a_header_in_any_order_names_the_columns(self):
        found = read("Section;Name;E-mail\nA;Fran;FRAN@Example.org\n")
        assert [(line.email, line.name, line.section) for line in found.right] == [(FRAN, "Fran", "A")]

    def test_without_a_header_the_order_is_email_name_role_section(self):
        [line] = read("fran@example.org,Fran,ta,B").right
        assert (line.role, line.section) == (Role.TA, "B")

    def test_cells_copied_from_a_spreadsheet_are_separated_by_tabs(self):
        [line] = read("email\tname\nfran@example.org\tDoe, Fran\n").right
        assert line.name == "Doe, Fran"

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_a_byte_order_mark_is_not_part_of_the_first_column(self, encoding: str):
        text, note = decode("email,name\nfran@example.org,Éloïse\n".encode(encoding))
        assert read(text).right[0].name == "Éloïse"
        assert note == ""

    def test_windows_accents_are_read_and_the_guess_is_said(self):
        text, note = decode("email,name\nfran@example.org,Éloïse\n".encode("cp1252"))
        assert read(text).right[0].name == "Éloïse"
        assert "Windows" in note

    def test_a_bad_email_is_wrong_on_its_own_line(self):
        assert problems("email\nfran@example.org\nnot an email\n") == {3: "“not an email” is not an email address."}

    def test_a_second_line_for_the_same_person_is_wrong_whatever_its_case(self):
        assert problems("email\nfran@example.org\nFRAN@EXAMPLE.ORG\n") == {3: "The same email is on line 2 already."}

    def test_an_unknown_role_is_named(self):
        assert "“boss” is not a role" in problems("email,role\nfran@example.org,boss\n")[2]

    def test_roles_are_understood_in_french(self):
        [line] = read("courriel;rôle\nfran@example.org;enseignante\n").right
        assert line.role == Role.TEACHER

    def test_a_name_with_a_comma_and_no_quotes_is_wrong(self):
        assert "more columns" in problems("email,name\nfran@example.org,Doe,Fran\n")[2]

    def test_a_missing_email_is_said(self):
        assert problems("email,name\n,Fran\n") == {2: "The email is missing."}

    def test_an_empty_list_and_a_binary_file_are_refused_as_a_whole(self):
        assert read("  \n\n").problem
        assert "not a text file" in read("PK\x03\x04\x00").problem

    def test_a_list_without_emails_says_which_columns_there_are(self):
        assert "no column called “email”" in read("name,role\nFran,student\n").problem

    def test_a_quote_that_is_never_closed_is_said(self):
        assert "never closed" in read('email,name\nfran@example.org,"Fran\n').problem

    def test_invisible_characters_in_a_name_become_spaces(self):
        [line] = read("email,name\nfran@example.org,Fr\u200ban\u202e  Doe\n").right
        assert line.name == "Fr an Doe"

    def test_other_columns_are_left_out_and_that_is_said(self):
        found = read("email,phone\nfran@example.org,123\n")
        assert not found.wrong
        assert found.notes


class TestPlanning:
    def test_nothing_is_applied_by_looking(self, course: Course, grace: User):
        planned(course, f"email,name\n{FRAN},Fran\n", grace)
        assert not User.objects.filter(email=FRAN).exists()

    def test_it_says_who_joins_moves_and_is_missing(self, course: Course, grace: User):
        text = f"email,role,section\n{FRAN},student,A\nada@example.org,student,B\nben@example.org,student,A\n"
        plan = planned(course, text, grace)
        assert [change.line.email for change in plan.joins] == [FRAN]
        assert [(change.user.username, change.section_before, change.section) for change in plan.moves] == [
            ("ada", "A", "B")
        ]
        assert {one.user.username for one in plan.missing} == {"cleo", "dan", "eve"}
        assert [change.user.username for change in plan.same] == ["ben"]

    def test_columns_that_are_not_there_move_nobody(self, course: Course, grace: User):
        plan = planned(course, "email\nada@example.org\ntim@example.org\n", grace)
        assert not plan.moves
        assert len(plan.same) == 2

    def test_staff_are_never_missing(self, course: Course, grace: User):
        assert {one.role for one in planned(course, f"email\n{FRAN}\n", grace).missing} == {Role.STUDENT}

    def test_a_person_of_a_wrong_line_is_not_missing(self, course: Course, grace: User):
        plan = planned(course, "email,role\nada@example.org,boss\n", grace)
        assert "ada" not in {one.user.username for one in plan.missing}

    def test_teachers_cannot_change_their_own_role(self, course: Course, grace: User):
        plan = planned(course, "email,role\ngrace@example.org,student\n", grace)
        assert not plan.moves
        assert "your own role" in plan.wrong[0].problem


class TestApplying:
    def test_new_people_get_an_account_that_nobody_can_sign_in_to_yet(self, course: Course, grace: User):
        done = applied(course, f"email,name,role,section\n{FRAN},Fran,ta,C\n", grace)
        fran = User.objects.get(email=FRAN)
        assert (fran.display_name, fran.has_usable_password()) == ("Fran", False)
        enrollment = Enrollment.objects.get(user=fran)
        assert (enrollment.role, enrollment.section.name, enrollment.state) == (Role.TA, "C", State.INVITED)
        assert done.new == [fran]

    def test_applied_twice_the_second_time_changes_nothing(self, course: Course, grace: User):
        text = f"email,section\n{FRAN},A\nada@example.org,B\n"
        first = planned(course, text, grace).digest
        roster.apply(course, read(text), by=grace, digest=first)
        again = roster.apply(course, read(text), by=grace, digest=first)
        assert (again.joined, again.moved, again.new) == (0, 0, [])
        assert Enrollment.objects.filter(user__email=FRAN).count() == 1

    def test_somebody_known_from_another_course_joins_with_the_account_they_have(
        self, course: Course, grace: User, mallory: User
    ):
        applied(course, "email,name\nMALLORY@example.org,Another Name\n", grace)
        mallory.refresh_from_db()
        assert mallory.enrollments.get().state == State.INVITED
        assert mallory.display_name == "Mallory"

    def test_only_those_who_were_ticked_are_dropped(self, course: Course, grace: User, ada: User, ben: User):
        going = Enrollment.objects.get(user=ada)
        done = applied(course, f"email\n{FRAN}\n", grace, drop=[going.pk])
        assert done.dropped == 1
        assert Enrollment.objects.get(user=ada).state == State.DROPPED
        assert Enrollment.objects.get(user=ben).state == State.ACTIVE

    def test_a_tick_for_somebody_who_is_in_the_list_drops_nobody(self, course: Course, grace: User, ada: User):
        done = applied(course, "email\nada@example.org\n", grace, drop=[Enrollment.objects.get(user=ada).pk])
        assert done.dropped == 0
        assert Enrollment.objects.get(user=ada).state == State.ACTIVE

    def test_somebody_who_was_dropped_comes_back(self, course: Course, grace: User, ada: User):
        roster.drop(Enrollment.objects.get(user=ada))
        assert applied(course, "email,section\nada@example.org,B\n", grace).returned == 1
        back = Enrollment.objects.get(user=ada)
        assert (back.state, back.section.name, back.left_at) == (State.INVITED, "B", None)

    def test_a_preview_of_another_roster_is_not_applied(self, course: Course, grace: User, ada: User):
        text = "email,section\nada@example.org,B\n"
        digest = planned(course, text, grace).digest
        roster.drop(Enrollment.objects.get(user=ada))
        with pytest.raises(roster.RosterChanged):
            roster.apply(course, read(text), by=grace, digest=digest)

    def test_wrong_lines_are_left_out_and_the_others_applied(self, course: Course, grace: User):
        done = applied(course, f"email\nnonsense\n{FRAN}\n", grace)
        assert done.joined == 1

    def test_two_people_of_one_name_get_two_user_names(self, course: Course, grace: User):
        applied(course, "email\nada@elsewhere.org\nada@third.org\n", grace)
        names = User.objects.filter(username__startswith="ada").values_list("username", flat=True)
        assert sorted(names) == ["ada", "ada-2", "ada-3"]

    def test_the_last_teacher_stays(self, course: Course, grace: User):
        with pytest.raises(roster.LastTeacher):
            roster.drop(Enrollment.objects.get(user=grace))
        with pytest.raises(roster.LastTeacher):
            roster.move(Enrollment.objects.get(user=grace), role=Role.TA, section=None)

    def test_open_notebooks_are_told_when_somebody_is_dropped(
        self, course: Course, ada: User, monkeypatch, django_capture_on_commit_callbacks
    ):
        from classroom import machines
        from classroom.models import Assignment, Work, WorkMember
        from grading.models import LineItem, Release
        from runtimes import storage
        from runtimes.models import Workspace

        item = LineItem.objects.create(label="ps1", profile=machines.grading())
        released = Release.objects.create(line_item=item, number=1, source=storage.snapshot_of({"a.txt": b"a"}))
        assignment = Assignment.objects.create(
            course=course, slug="ps1", title="ps1", line_item=item, profile=machines.interactive()
        )
        workspace = Workspace.objects.create(profile=machines.interactive(), account="x")
        work = Work.objects.create(assignment=assignment, workspace=workspace, release=released)
        WorkMember.objects.create(work=work, assignment=assignment, user=ada)
        told: list[str] = []
        monkeypatch.setattr("runtimes.bus.publish_sync", lambda topic, payload=b"": told.append(topic))
        with django_capture_on_commit_callbacks(execute=True):
            roster.drop(Enrollment.objects.get(user=ada))
        assert told == [f"access:{workspace.slug}"]
