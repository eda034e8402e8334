"""Groups from a list: shown before anything is applied, applied as shown and whole, or not at all."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from classroom import group, group_list, roster
from classroom.group_list_read import read
from classroom.models import Assignment, Course, Enrollment, Group, GroupMember, WorkMember
from classroom.people.models import User
from runtimes import storage
from runtimes.errors import StorageError
from tests.classroom.test_races import at_once
from tests.classroom.work import published, work_of

URL = "/c/data/a/ps1/teach/groups/"


@pytest.fixture
def ps1(course: Course, grace: User) -> Assignment:
    return published(course, grace, group_size=3)


@pytest.fixture
def pair(ps1: Assignment, ada: User, ben: User) -> Group:
    return group.form(ps1, "Pair", [ada, ben])


def lines(*rows: str) -> str:
    """Rows of "ada Pair" as a list."""
    return "".join("{}@example.org,{}\n".format(*row.split()) for row in rows)


def applied(ps1: Assignment, text: str) -> group_list.Applied:
    found = read(text)
    return group_list.apply(ps1, found, digest=group_list.plan(ps1, found).digest)


def everyone() -> dict[str, list[str]]:
    """Who is in which group."""
    return {one.name: sorted(one.members.values_list("username", flat=True)) for one in Group.objects.all()}


def test_the_preview_says_what_is_made_who_moves_and_who_is_unknown_and_applies_nothing(pair, grace, as_user) -> None:
    before = everyone()
    text = "email;group\nada@example.org;Trio\ncleo@example.org;Trio\n\nben@example.org;Pair\nnobody@example.org;Trio\n"
    answer = as_user(grace).post(URL, {"act": "list", "text": text})
    plan = answer.context["plan"]
    assert [one.user.username for one in plan.moves] == ["ada"]
    assert [one.user.username for one in plan.joins] == ["cleo"]
    assert [one.user.username for one in plan.same] == ["ben"]
    assert (plan.made, list(plan.gone)) == (["Trio"], [])
    assert [(line.number, line.email) for line in plan.wrong] == [(6, "nobody@example.org")]
    page = answer.content.decode()
    for words in ("1 group is made", "1 person moves to another group", "Nobody with this email is a student"):
        assert words in page
    assert everyone() == before


def test_confirming_applies_all_of_it_and_leaves_wrong_lines_out(pair, grace, as_user) -> None:
    client = as_user(grace)
    text = lines("ada Trio", "cleo Trio", "dan Pair", "nobody Trio")
    shown = client.post(URL, {"act": "list", "text": text}).context
    answer = client.post(
        URL, {"act": "confirm_list", "text": shown["text"], "digest": shown["digest"]}, follow=True
    ).content.decode()
    assert "3 people are in their groups now." in answer
    assert everyone() == {"Pair": ["ben", "dan"], "Trio": ["ada", "cleo"]}
    again = client.post(URL, {"act": "confirm_list", "text": shown["text"], "digest": shown["digest"]}, follow=True)
    assert "The list changes nothing." in again.content.decode()
    assert everyone() == {"Pair": ["ben", "dan"], "Trio": ["ada", "cleo"]}


def test_a_file_is_previewed_like_a_pasted_list(ps1, grace, as_user) -> None:
    file = SimpleUploadedFile("groups.csv", "ada@example.org,Zoé\n".encode("cp1252"))
    answer = as_user(grace).post(URL, {"act": "list", "file": file})
    assert answer.context["plan"].made == ["Zoé"]
    assert "Windows-1252" in answer.content.decode()
    both = {"act": "list", "text": "x", "file": SimpleUploadedFile("groups.csv", b"ada@example.org,A\n")}
    assert as_user(grace).post(URL, both).status_code == 422


def test_where_somebody_moved_meanwhile_it_is_said_and_nothing_is_applied(pair, ps1, ada, cleo, grace, as_user) -> None:
    client = as_user(grace)
    text = lines("ada Trio", "dan Trio")
    shown = client.post(URL, {"act": "list", "text": text}).context
    group.form(ps1, "Other", [cleo, ada])
    before = everyone()
    answer = client.post(URL, {"act": "confirm_list", "text": text, "digest": shown["digest"]})
    assert "Groups have changed since this preview was made" in answer.content.decode()
    assert everyone() == before
    # The new preview says it as it is now, and can be applied.
    [move] = answer.context["plan"].moves
    assert (move.user, move.before.name) == (ada, "Other")
    client.post(URL, {"act": "confirm_list", "text": answer.context["text"], "digest": answer.context["digest"]})
    assert everyone() == {"Pair": ["ben"], "Other": ["cleo"], "Trio": ["ada", "dan"]}


@pytest.mark.parametrize("fails", ["member", "group"])
def test_what_breaks_off_half_way_leaves_everything_as_it_was(pair, ps1, ada, ben, monkeypatch, fails) -> None:
    """A change between reading and writing, which databases meet only at the same moment."""
    work = work_of(ps1, ada)
    found = read(lines("ada Trio", "ben Trio", "cleo Trio"))
    shown = group_list.plan(ps1, found)
    stale = group_list.Plan(made=shown.made, joins=shown.joins, moves=shown.moves)
    if fails == "member":
        # Cleo has joined a group meanwhile, which the plan that was read does not know.
        group.form(ps1, "Other", [shown.joins[0].user])
    else:
        # Ben has left meanwhile.
        group.take_out(pair, ben)
    before = everyone()
    monkeypatch.setattr(group_list, "plan", lambda *_given: stale)
    with pytest.raises(group_list.GroupsChanged):
        group_list.apply(ps1, found, digest=stale.digest)
    assert everyone() == before
    assert work_of(ps1, ada) == work


def test_groups_can_change_places_and_each_keeps_what_it_wrote(ps1, ada, ben) -> None:
    """Whoever was alone in a group takes the work along; nobody's becomes read-only under another's hands."""
    for user, name in ((ada, "A"), (ben, "B")):
        group.form(ps1, name, [user])
        storage.write(work_of(ps1, user).workspace, f"{name}.txt", name.encode())
    assert applied(ps1, lines("ada B", "ben A")) == group_list.Applied(people=2, moved=2, made=2)
    assert everyone() == {"A": ["ben"], "B": ["ada"]}
    for user, wrote in ((ada, "A.txt"), (ben, "B.txt")):
        workspace = work_of(ps1, user).workspace
        workspace.refresh_from_db()
        assert wrote in set(storage.files(workspace).values_list("path", flat=True))
        assert not workspace.read_only


def test_a_group_that_all_leave_goes_and_is_named(pair, ps1) -> None:
    found = read(lines("ada Trio", "ben Trio"))
    shown = group_list.plan(ps1, found)
    assert ([one.name for one in shown.gone], shown.made) == (["Pair"], ["Trio"])
    group_list.apply(ps1, found, digest=shown.digest)
    assert everyone() == {"Trio": ["ada", "ben"]}


def test_what_people_began_alone_comes_along_and_a_lost_disk_loses_no_group(ps1, ada, ben, monkeypatch) -> None:
    storage.write(work_of(ps1, ada).workspace, "plot.py", b"1")
    storage.write(work_of(ps1, ben).workspace, "own.py", b"2")

    def away(_group: Group) -> None:
        raise StorageError("the disk is away")

    monkeypatch.setattr(group, "settle", away)
    assert applied(ps1, lines("ada Pair", "ben Pair")).people == 2
    monkeypatch.undo()
    assert work_of(ps1, ben) == work_of(ps1, ada)
    assert "ben/own.py" in set(storage.files(work_of(ps1, ada).workspace).values_list("path", flat=True))
    assert WorkMember.objects.count() == 2


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("ada@example.org", ["Write an email and the name of a group."]),
        ("ada@example.org,A\nADA@example.org,B", ["The same email is on line 1 already."]),
        ("ada@example.org,A\ntim@example.org,A", ["Nobody with this email is a student of this course."]),
        (f"ada@example.org,{'x' * 101}", ["The name of the group is longer than 100 characters."]),
    ],
)
def test_a_wrong_line_is_named_with_its_number(ps1, text, problems) -> None:
    plan = group_list.plan(ps1, read(text))
    assert [line.problem for line in plan.wrong] == problems
    assert plan.wrong[-1].number == len(text.splitlines())


@pytest.mark.parametrize(("text", "problem"), [("", "empty"), ("a\x00b", "no list"), ("a@b.org,x\n" * 5001, "5000")])
def test_what_is_no_list_is_said_as_a_whole(ps1, text, problem) -> None:
    assert problem in read(text).problem
    assert not group_list.plan(ps1, read(text)).changes


def test_who_was_dropped_is_unknown(ps1, ada) -> None:
    roster.drop(Enrollment.objects.get(user=ada))
    assert [line.email for line in group_list.plan(ps1, read(lines("ada A"))).wrong] == ["ada@example.org"]


def test_a_preview_takes_three_queries_however_long_the_list(ps1, pair) -> None:
    for text in (lines("ada A"), lines("ada A", "ben A", "cleo B", "dan B", "eve C")):
        with CaptureQueriesContext(connection) as context:
            assert group_list.plan(ps1, read(text)).changes
        assert len(context) == 3


@pytest.mark.django_db(transaction=True)
def test_two_lists_at_once_are_one_after_the_other_or_the_second_looks_again(course, grace, ada) -> None:
    ps1 = published(course, grace, group_size=3)
    found = read(lines("ada A", "ben A", "cleo B"))
    digest = group_list.plan(ps1, found).digest
    results = at_once(lambda: group_list.apply(ps1, found, digest=digest), times=3)
    assert sum(isinstance(one, group_list.Applied) and one.people == 3 for one in results) == 1
    assert all(isinstance(one, group_list.Applied | group_list.GroupsChanged) for one in results)
    assert everyone() == {"A": ["ada", "ben"], "B": ["cleo"]}
    assert GroupMember.objects.count() == 3
