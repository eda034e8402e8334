"""What can happen to a machine reaches the person at the notebook as a sentence, and as something to do."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from classroom.launch import open_work
from classroom.machine import MOST_MOVES
from runtimes.describe import source_text
from runtimes.endpoint import Endpoint
from runtimes.models import Kernel, Profile, Runtime, Session
from runtimes.status import ALL_KEPT, MOVES, Reason
from tests.classroom.work import PS1

pytestmark = pytest.mark.django_db
State = Runtime.State


def words(response) -> str:
    assert response.status_code == 200, response.status_code
    return re.sub(r"\s+", " ", response.content.decode())


@pytest.fixture
def workspace(ps1, ada):
    return open_work(ps1, ada).workspace


@pytest.fixture
def bar(workspace, ada, as_user):
    """`bar()` is the bar as it says now; `bar(do=…)` after that wish."""
    client = as_user(ada)

    def look(**wish: str) -> str:
        path = f"/w/{workspace.slug}/"
        return words(client.post(f"{path}kernel/", wish) if wish else client.get(f"{path}state/"))

    return look


@pytest.fixture
def runs(workspace):
    """`runs(state, …)` is a runtime of the workspace, an hour old."""

    def make(state: str = State.READY, **fields: object) -> Runtime:
        now = timezone.now()
        ended = {"stopped_at": now} if state not in Runtime.LIVE else {}
        more = {"ready_at": now - timedelta(hours=1), "requested_at": now - timedelta(hours=1), **ended, **fields}
        profile = more.pop("profile", workspace.profile)
        return Runtime.objects.create(workspace=workspace, profile=profile, account="x", state=state, **more)

    return make


def kernel_in(runtime: Runtime, **fields: object) -> Kernel:
    kernel = Kernel.objects.create(workspace=runtime.workspace, runtime=runtime, index=0, **fields)
    Session.objects.create(workspace=runtime.workspace, kernel=kernel, path=PS1)
    return kernel


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason])
def test_every_end_is_told_with_the_files_and_something_to_press(runs, bar, reason):
    # Those whose work goes on elsewhere by itself are another test's: here that has happened too often.
    for _ in range(MOST_MOVES + 1):
        runs(State.LOST, reason=reason)
    page = bar()
    assert "Your work is saved." in page
    assert "notice-restart" in page


# FAILED: it was still starting.
@pytest.mark.parametrize("state", [State.LOST, State.FAILED])
@pytest.mark.parametrize("reason", sorted(MOVES))
def test_work_whose_machine_is_taken_away_moves_to_another_by_itself_where_somebody_looks(runs, bar, reason, state):
    runs(state, reason=reason)
    page = bar()
    new = Runtime.objects.get(state=State.QUEUED)
    assert "Your work moves to a new machine, with its files as last saved." in page
    assert f'data-moved="{new.name}"' in page
    Runtime.objects.filter(pk=new.pk).update(state=State.READY, ready_at=timezone.now())
    assert "Your work is on a new machine, with its files as last saved: run the cells again." in bar()
    assert Runtime.objects.count() == 2


def test_work_whose_files_were_fetched_as_its_machine_was_taken_away_moves_with_all_of_them(runs, bar):
    runs(State.LOST, reason=Reason.EVICTED, message=source_text(ALL_KEPT))
    assert "Your work moves to a new machine, with all its files." in bar()
    Runtime.objects.filter(state=State.QUEUED).update(state=State.READY, ready_at=timezone.now())
    assert "Your work is on a new machine, with all its files: run the cells again." in bar()


@pytest.mark.parametrize("reason", [Reason.IDLE, Reason.LIFETIME, Reason.REQUESTED, Reason.OPERATOR, Reason.DISK_FULL])
def test_what_ended_for_a_reason_of_its_own_waits_for_a_person(runs, bar, reason):
    runs(State.STOPPED, reason=reason)
    bar()
    assert Runtime.objects.count() == 1


def test_nobody_who_only_reads_moves_somebodys_work(runs, workspace, tim, as_user):
    runs(State.LOST, reason=Reason.NODE_LOST)
    as_user(tim).get(f"/w/{workspace.slug}/state/")
    assert Runtime.objects.count() == 1


def test_a_machine_that_is_lost_again_and_again_is_not_asked_for_for_ever(runs, bar):
    for _ in range(MOST_MOVES):
        runs(State.LOST, reason=Reason.EVICTED)
    bar()
    assert Runtime.objects.filter(state=State.QUEUED).update(
        state=State.LOST, reason=Reason.EVICTED, stopped_at=timezone.now()
    )
    assert "The machine needed the place." in bar()
    assert not Runtime.objects.filter(state__in=Runtime.LIVE).exists()


def test_out_of_memory_says_how_much_and_that_the_kernel_runs_again(runs, bar, workspace):
    Profile.objects.filter(pk=workspace.profile_id).update(memory_bytes=3 * 2**30)
    now = timezone.now()
    kernel = kernel_in(
        runs(), state=Kernel.State.DEAD, reason=Reason.OUT_OF_MEMORY, died_of=Reason.OUT_OF_MEMORY, died_at=now
    )
    page = bar()
    assert "The code used all the memory that it may have (3.0 GB) and was stopped. Your files are kept." in page
    assert "notice-restart" in page
    Kernel.objects.filter(pk=kernel.pk).update(state=Kernel.State.RUNNING, reason="")
    page = bar()
    assert "(3.0 GB) and was stopped. The kernel was started again: its variables are gone" in page
    Kernel.objects.filter(pk=kernel.pk).update(died_at=now - timedelta(minutes=11))
    assert "and was stopped" not in bar()


def test_a_kernel_that_crashed_and_runs_again_says_so(runs, bar):
    kernel_in(runs(), state=Kernel.State.RUNNING, died_of=Reason.KERNEL_CRASH, died_at=timezone.now())
    assert "The kernel ended by itself and was started again" in bar()


def test_the_end_of_its_life_is_announced_before(runs, bar):
    runtime = runs(deadline=timezone.now() + timedelta(minutes=30))
    assert "longest it may run" not in bar()
    Runtime.objects.filter(pk=runtime.pk).update(deadline=timezone.now() + timedelta(minutes=8, seconds=30))
    page = bar()
    assert "This machine stops in 8 minutes" in page
    assert "Your files are kept, variables are not." in page


def test_who_left_something_running_reads_why_the_kernel_is_slow_and_can_go_on_using_it(runs, bar):
    runtime = runs(load_since=timezone.now() - timedelta(hours=3), last_active_at=timezone.now())
    assert "slowed down" not in bar()
    Runtime.objects.filter(pk=runtime.pk).update(slowed=True)
    page = bar()
    assert "Something has been running here for 3 hours and no cell was begun since" in page
    assert "Run a cell, or go on using it, to have its full speed." in page
    assert "machine-keep" in page
    assert "slowed down" not in bar(do="keep")
    runtime.refresh_from_db()
    assert runtime.load_since is None


def test_an_idle_machine_is_announced_to_stop_and_can_be_kept(runs, bar):
    long_ago = timezone.now() - timedelta(minutes=27)
    runtime = runs(last_active_at=long_ago)
    kernel = kernel_in(runtime, state=Kernel.State.RUNNING, execution_state="idle", last_activity=long_ago)
    page = bar()
    assert "Nothing has run for 27 minutes: the machine stops in about" in page
    assert "machine-keep" in page
    assert "Nothing has run" not in bar(do="keep")
    Runtime.objects.filter(pk=runtime.pk).update(last_active_at=long_ago)
    Kernel.objects.filter(pk=kernel.pk).update(execution_state="busy")
    assert "Nothing has run" not in bar()


@pytest.mark.parametrize(
    ("limit", "calm", "warned"),
    [(1, timedelta(seconds=5), timedelta(seconds=40)), (10, timedelta(minutes=4), timedelta(minutes=6))],
)
def test_a_machine_with_a_short_idle_limit_is_announced_to_stop_too(runs, bar, workspace, limit, calm, warned):
    Profile.objects.filter(pk=workspace.profile_id).update(idle_timeout=timedelta(minutes=limit))
    runtime = runs(last_active_at=timezone.now() - calm)
    assert "Nothing has run" not in bar()
    Runtime.objects.filter(pk=runtime.pk).update(last_active_at=timezone.now() - warned)
    assert "Nothing has run" in bar()
    assert "Nothing has run" not in bar(do="keep")


def test_an_administrators_reason_is_read_by_the_person_at_the_notebook(runs, bar):
    runs(State.STOPPED, reason=Reason.OPERATOR, message="This node is taken down at noon")
    assert "An administrator stopped the machine: This node is taken down at noon. Your files are kept." in bar()


def test_the_providers_own_words_are_for_operators_only(runs, bar):
    runs(State.FAILED, reason=Reason.ERROR, detail="admission webhook denied the request: 403")
    page = bar()
    assert "webhook" not in page
    assert "The kernel could not be run." in page


# --- a GPU that one has to wait for


@pytest.fixture
def gpu(workspace) -> Profile:
    """The work's machine, with a GPU that all are waiting for."""
    Profile.objects.filter(pk=workspace.profile_id).update(
        gpu=1, name="GPU lab", fallback=Profile.objects.create(slug="cpu", name="CPU small", preload=["numpy"])
    )
    return Profile.objects.get(pk=workspace.profile_id)


def test_who_waits_for_a_gpu_goes_on_at_once_without_one_and_the_next_start_asks_for_it_again(gpu, runs, bar):
    waits = runs(State.QUEUED, reason=Reason.ACCELERATOR_WAIT, ready_at=None)
    kernel = kernel_in(waits)
    page = bar()
    assert (
        "On CPU small you can go on at once, with the same files; the next start waits for this machine again." in page
    )
    assert "Use CPU now" in page
    page = bar(do="instead")
    waits.refresh_from_db()
    assert (waits.profile.slug, waits.state, waits.preload, waits.reason) == ("cpu", State.QUEUED, ["numpy"], "")
    assert Kernel.objects.get().pk == kernel.pk
    assert "You work on CPU small now, without waiting for GPU lab." in page
    assert "the next start asks for GPU lab again" in page
    # A second click, or one that came late, changes nothing.
    assert "Use CPU now" not in bar(do="instead")
    Runtime.objects.update(state=State.STOPPED, stopped_at=timezone.now())
    bar(do="start")
    assert Runtime.objects.get(state=State.QUEUED).profile_id == gpu.pk


@pytest.mark.parametrize("state", [State.READY, State.STOPPING, State.STARTING])
def test_who_has_the_gpu_already_is_offered_nothing_else(gpu, runs, bar, state):
    runtime = runs(state)
    assert "Use CPU now" not in bar()
    bar(do="instead")
    runtime.refresh_from_db()
    assert runtime.profile_id == gpu.pk


def test_a_retired_fallback_is_not_offered(gpu, runs, bar):
    Profile.objects.filter(slug="cpu").update(retired_at=timezone.now())
    runs(State.QUEUED, ready_at=None)
    assert "Use CPU now" not in bar()


def test_a_page_that_does_not_know_the_machines_key_yet_asks_to_try_again(runs, bar, workspace, ada, as_user):
    newer = Endpoint("tcp", "192.0.2.1", "new", settings.MASTER_KEY_VERSION + 1)
    kernel = kernel_in(runs(endpoint=newer.to_json()), state=Kernel.State.RUNNING)
    assert "Try again in a moment" in bar(do="interrupt", kernel=str(kernel.pk))
    assert words(as_user(ada).get(f"/w/{workspace.slug}/machine/")) == " "
