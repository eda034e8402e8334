"""A course with something on every page of it: what the walk through all pages looks at. Made on the live site's data.

Around `tests.world`: names and titles of real length, what failed and was set aside, a check, groups, later dates, a
regrade of which one score is approved and one is not, and somebody who is invited.
"""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

import nbformat
from allauth.account import app_settings as account
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import transaction
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from classroom import extend, group, invite, publish, regrade, rehearse, roster
from classroom.deadlines import Allowance
from classroom.demo.people import CAST
from classroom.launch import open_work
from classroom.models import Assignment, Course, Enrollment
from classroom.people.models import User
from classroom.roster_read import read
from classroom.workspaces import account_of
from grading import feedback, review
from grading.compare import differences
from grading.models import Autograding, GradeCell, LineItem, Release, ReleaseCheck, Submission, WorkCheck
from runtimes import storage, usage
from runtimes.meter import Meter
from runtimes.models import GIB, Kernel, Profile, ProviderReport, Runtime, Workspace
from runtimes.status import Reason
from tests import world as worlds
from tests.classroom import work as problem_sets
from tests.security.test_every_url import addresses

LOG = "sandbox of autograding 17 started\nsandbox of autograding 17 was lost (signal 9, out of memory), try again\n" * 9
UNTRUE = "AssertionError: square(-3) is 9, and not -9: the square of a negative number is positive"
WHY = "The hidden test expected an integer where the text of the exercise allows any number."
INVITED = "email,name,section\niris.vandenberghe-dellacroce@students.example.org,Iris Vandenberghe-Dellacroce,A\n"


def fill() -> str:
    """JSON: `pages`, each page's address by its name; `sessions`, a session's key by the user name."""
    # Nobody types these passwords: a slow hash of each would only take time.
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]), transaction.atomic():
        people = {one.username: worlds.make_user(one.username, display_name=one.name) for one in CAST[1:]}
        people["grace"] = worlds.make_teacher("grace")
        people["root"] = worlds.make_user("root", is_staff=True, is_superuser=True)
        User.objects.filter(username="cleo").update(display_name="Cléopâtre-Marguerite Featherstonehaugh")
        pages = _pages(worlds.build(worlds.make_course(people)), people)
        return json.dumps({"pages": pages, "sessions": {name: _session(user) for name, user in people.items()}})


def _session(user: User) -> str:
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    backend = "django.contrib.auth.backends.ModelBackend"
    store.update(
        {SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: backend, HASH_SESSION_KEY: user.get_session_auth_hash()}
    )
    store.create()
    return str(store.session_key)


def _pages(world: worlds.World, people: dict[str, User]) -> dict[str, str]:
    grace, ada, cleo, dan = (people[name] for name in ("grace", "ada", "cleo", "dan"))
    Course.objects.filter(pk=world.course.pk).update(title="Introduction to Data Science and Scientific Computing")
    _partly_approved(world, grace)
    failed = _ended(world, cleo, Autograding.State.FAILED, "kernel_out_of_memory")
    parked = _ended(world, dan, Autograding.State.PARKED, "gave_up", tries=3)
    _checked(world)
    _solution_failed(world.draft.line_item.releases.get())
    running = _running(world.course, grace)
    _later_dates(world, ada, grace)
    _cell_missing(world)
    in_group = problem_sets.published(world.course, grace, slug="ps3", group_size=3, groups_by_students=True)
    group.form(in_group, "The group that works at night", [ada, cleo])
    gpu = _gpu()
    _crowded(world, gpu)
    pages = addresses(world)
    of = {slug: {name: page.replace("/ps1/", f"/{slug}/") for name, page in pages.items()} for slug in ("ps2", "ps3")}
    return pages | {
        "grading_run": pages["grading_run"] + "?kind=kernel_out_of_memory",
        "grading_log": f"{pages['grading_run']}{failed.pk}/",
        "grading_log of what was set aside": f"{pages['grading_run']}{parked.pk}/",
        "teach_assignment of a draft": of["ps2"]["teach_assignment"],
        "teach_assignment while its solution runs": pages["teach_assignment"].replace("/ps1/", f"/{running.slug}/"),
        "assignment_publish of a draft": of["ps2"]["assignment_publish"],
        "assignment_settings of a draft": of["ps2"]["assignment_settings"],
        "assignment_settings of groups": of["ps3"]["assignment_settings"],
        "group": of["ps3"]["group"],
        "groups": of["ps3"]["groups"],
        "hand_in with a cell missing": f"/w/{world.ben_work.workspace.slug}/hand-in/",
        "check of nothing yet": f"/w/{world.ben_work.workspace.slug}/check/",
        "people that are not his": pages["people"],
        "receipt of what waits": f"/receipts/{world.ben_submission.code}/",
        "join": _invited(world.course, grace),
        "join that is gone": pages["join"],
        "account_reset_password_from_key": _reset(dan),
        "account_reset_password_from_key that is gone": pages["account_reset_password_from_key"],
        "nothing there": "/nothing/",
        "feedback after a hidden test": _after_a_hidden_test(world.course, grace, ada),
        "usage by person": pages["usage"] + "?by=person&order=name",
        "usage of no period": pages["usage"] + "?since=2026-03-02&until=2026-03-01",
        "machine of a GPU": reverse("machine", args=[gpu.slug]),
        "admin": reverse("admin:index"),
        "admin with a list": reverse("admin:classroom_course_changelist"),
    }


def _after_a_hidden_test(course: Course, by: User, student: User) -> str:
    """Feedback on work whose tests failed, with a plot of its own from before it was handed in."""
    handed_in = problem_sets.handed_in(problem_sets.published(course, by, slug="ps5"), student)
    files = storage.read_snapshot(handed_in.snapshot)
    notebook = nbformat.reads(files[problem_sets.PS1].decode(), as_version=4)
    said = nbformat.v4.new_output("stream", text="the first squares are 0, 1, 4, 9, 16, 25, 36, 49, 64, 81\n")
    notebook.cells.append(nbformat.v4.new_code_cell("print('the first squares are', *squares(10))", outputs=[said]))
    files[problem_sets.PS1] = nbformat.writes(notebook).encode()
    Submission.objects.filter(pk=handed_in.pk).update(snapshot=storage.snapshot_of(files))
    handed_in.refresh_from_db()
    submission = problem_sets.graded(handed_in, tests=Decimal(0), failed_tests=UNTRUE)
    review.give(submission, problem_sets.cell_of(submission, "essay"), by, manual_score=Decimal(2))
    review.finish(submission, by)
    assert feedback.release([submission], by)
    return reverse("feedback", args=[submission.code])


def _gpu() -> Profile:
    """A machine with everything set, and a retired one beside it."""
    Profile.objects.create(slug="old", name="Python 3.11 · 1 CPU · 1 GB", retired_at=timezone.now())
    hours = [
        {"day": "mon", "from": "09:45", "to": "12:00", "warm": 30},
        {"day": "thu", "from": "14:00", "to": "16:00", "warm": 12},
    ]
    return Profile.objects.create(
        slug="gpu", name="GPU lab · NVIDIA L4 · 4 CPU · 16 GB", cpu=4, memory_bytes=16 * GIB, gpu=1, for_all=False,
        accelerator_model="nvidia-l4", accelerator_sharing="time-sharing", accelerator_clients=4, network="internet",
        fallback=Profile.objects.get(slug="standard"), warm=1, timetable=hours, time_zone="Europe/Paris",
        image="registry.example.org/kernels/python@sha256:" + "ab" * 32,
        node_selector={"cloud.google.com/gke-nodepool": "gpu"},
        tolerations=[{"key": "lab", "operator": "Exists"}], runtime_class="gvisor", scratch_bytes=20 * GIB,
    )  # fmt: skip


def _crowded(world: worlds.World, gpu: Profile) -> None:
    """Two at work, one of them at one cell for hours, one waiting, and what went wrong."""
    now, state = timezone.now(), Runtime.State
    usual = world.ada_work.workspace.profile
    account = account_of(world.course.pk)

    def runtime(workspace: Workspace | None, profile: Profile, state: str, **more: Any) -> Runtime:
        asked = {"requested_at": now - timedelta(hours=4), "last_active_at": now - timedelta(hours=3)}
        return Runtime.objects.create(
            workspace=workspace, profile=profile, account=account, state=state, **{**asked, **more}
        )

    runtime(world.ada_work.workspace, usual, state.READY, ready_at=now, deadline=now + timedelta(hours=9))
    long = runtime(
        world.preview.workspace, gpu, state.READY, ready_at=now, yields=True, deadline=now + timedelta(minutes=8)
    )
    Kernel.objects.create(
        runtime=long, workspace=world.preview.workspace, index=0, state=Kernel.State.RUNNING, execution_state="busy",
        last_activity=now - timedelta(hours=3),
    )  # fmt: skip
    runtime(world.eve_work.workspace, gpu, state.QUEUED, reason=Reason.ACCELERATOR_WAIT)
    pull = "ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image: not found"
    runtime(None, usual, state.FAILED, reason=Reason.IMAGE_PULL, detail=pull, stopped_at=now)
    runtime(None, gpu, state.LOST, reason=Reason.NODE_LOST, stopped_at=now - timedelta(hours=2))
    quota = 'pods "rt-0123456789abcdef0123" is forbidden: exceeded quota: kernels, requested: limits.memory=8Gi,pods=1'
    ProviderReport.objects.create(provider="pods", warm=12, accelerators=4, lacks={gpu.slug: quota})
    cpu_meter = Meter(5_000_000.0).to_json()
    graded = runtime(None, usual, state.STOPPED, purpose="grading", ready_at=now, cpu_meter=cpu_meter)
    usage.record([*Runtime.objects.filter(state=state.READY), graded], now + timedelta(hours=1234))


def _partly_approved(world: worlds.World, by: User) -> None:
    """Of the regrade, Ada's score has moved and Ben's waits for a decision."""
    [adas] = [one for one in differences(world.regrade) if one.submission.pk == world.ada_submission.pk]
    chosen = {adas.submission.pk: adas.fingerprint}
    approval = regrade.approve(world.regrade, by, chosen, reason=WHY, for_later=False)
    regrade.take_over(approval.pk)


def _ended(world: worlds.World, user: User, state: str, code: str, tries: int = 1) -> Autograding:
    """Somebody's submission that could not be graded, with its log."""
    submission = worlds.handed_in(open_work(world.assignment, user), user)
    Submission.objects.filter(pk=submission.pk).update(state=Submission.State.FAILED)
    run = Autograding.objects.get(submission=submission)
    now = timezone.now()
    Autograding.objects.filter(pk=run.pk).update(
        state=state, current=True, tries=tries, log=LOG, failures=[{"code": code, "notebook": "squares"}],
        environment_digest="sha256:" + "4f" * 32, engine_version="nbgrader 0.9.6", started_at=now, finished_at=now,
    )  # fmt: skip
    return run


def _checked(world: worlds.World) -> None:
    """Ada's last check: one test passed, one failed, and a module that grading lacks."""
    row: dict[str, Any] = {"notebook": "squares", "ran": True, "message": ""}
    failed = {**row, "grade_id": "test_of_negative_numbers", "passed": False, "message": UNTRUE, "reasons": [UNTRUE]}
    check = rehearse.check(world.ada_work)
    WorkCheck.objects.filter(pk=check.pk).update(
        state=WorkCheck.State.DONE, results=[{**row, "grade_id": "test_square", "passed": True}, failed],
        lacking=["seaborn", "statsmodels"], finished_at=timezone.now(),
    )  # fmt: skip


def _solution_failed(release: Release) -> None:
    """The teacher's own solution fails a test of the draft."""
    cell = GradeCell.objects.get(notebook__release=release, grade_id="test_square")
    row = {"notebook": "squares", "grade_id": cell.grade_id, "score": 0, "max_score": 2, "passed": False}
    Release.objects.filter(pk=release.pk).update(state=Release.State.CHECKED)
    ReleaseCheck.objects.filter(release=release).update(
        state=ReleaseCheck.State.FAILED,
        results=[{**row, "output": UNTRUE}],
        done=1,
        total=1,
        finished_at=timezone.now(),
    )


def _running(course: Course, by: User) -> Assignment:
    """A new assignment while its solution runs, somewhere else."""
    made = publish.create(course, slug="ps4", title="Introduction_to_simulation_methods_final_version", unit="Week 2")
    publish.upload(made, {f"{made.title}.ipynb": worlds.graded_notebook()}, by)
    ReleaseCheck.objects.filter(release__line_item=made.line_item_id).update(
        state=ReleaseCheck.State.RUNNING, done=1, total=3, lease_until=timezone.now() + timedelta(days=1)
    )
    return made


def _later_dates(world: worlds.World, user: User, by: User) -> None:
    """A late policy for all, an extension and a standing accommodation for one."""
    LineItem.objects.filter(pk=world.assignment.line_item_id).update(
        attempt_limit=3, late_policy=LineItem.LatePolicy.PER_DAY, late_cap_percent=50
    )
    due_at = timezone.now() + timedelta(days=9)
    extend.extend(world.assignment, user, due_at=due_at, reason="Two weeks in hospital.", by=by, more_attempts=2)
    extend.accommodate(Enrollment.objects.get(course=world.course, user=user), Allowance(percent=25, days=1, hours=6))


def _cell_missing(world: worlds.World) -> None:
    """Ben has deleted the tests."""
    workspace = world.ben_work.workspace
    path = worlds.NOTEBOOK
    notebook = nbformat.reads(storage.read(storage.files(workspace).get(path=path).blob).decode(), as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.id != "tests"]
    storage.write(workspace, path, nbformat.writes(notebook).encode())


def _reset(user: User) -> str:
    """Where the mail leads that somebody asked for who has forgotten their password."""
    key = account.PASSWORD_RESET_TOKEN_GENERATOR().make_token(user)
    return reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), key])


def _invited(course: Course, by: User) -> str:
    """Where the link of somebody leads who was added and has not come yet."""
    class_list = read(INVITED)
    roster.apply(course, class_list, by=by, digest=roster.plan(course, class_list, by).digest)
    iris = User.objects.get(username__startswith="iris")
    return invite.issue(iris, by).removeprefix(settings.SITE_ORIGIN)
