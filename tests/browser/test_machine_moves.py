"""A machine that is taken away, and one that has to be waited for, as a student meets them in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.person import PASSWORD, Person
from tests.live import LiveSite

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(600)]

# Runs in a process of the live site. Who opens `lab` wants a GPU.
COURSE = f"""
from classroom import courses
from classroom.models import Assignment, Enrollment
from classroom.people.models import User
from runtimes.models import Profile
from tests.classroom.work import published
grace = User.objects.create_user("gina", "gina@example.org", "{PASSWORD}", display_name="Gina")
course = courses.create(slug="few", title="Few machines", term="", time_zone="Europe/Paris", by=grace)
for name in ("ada", "ben"):
    student = User.objects.create_user(name, name + "@example.org", "{PASSWORD}", display_name=name.capitalize())
    Enrollment.objects.create(course=course, user=student, role="student")
published(course, grace)
lab = published(course, grace, slug="lab")
gpu = Profile.objects.create(slug="gpu", name="GPU lab", gpu=1, fallback=Profile.objects.get(slug="standard"))
Assignment.objects.filter(pk=lab.pk).update(profile=gpu)
"""


@pytest.fixture
def live(django_db_blocker) -> Iterator[LiveSite]:
    """A site with room for one machine, new for each try: the first may have given the place to Ben."""
    with LiveSite(django_db_blocker, RUNTIMES_MOST="1") as site:
        site.manage("shell", "-c", COURSE)
        yield site


def opens(person: Callable[[], Person], username: str, assignment: str) -> Person:
    someone = person()
    someone.sign_in(username)
    someone.visit(f"/c/few/a/{assignment}/")
    someone.press("Open")
    return someone


def says(someone: Person, code: str, output: str) -> None:
    """The first code cell, run, answers so."""
    cell = someone.notebook.locator(".jp-CodeCell").first
    someone.types(cell, code)
    someone.page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-OutputArea")).to_have_text(output, timeout=90_000)


def test_work_goes_on_by_itself_after_its_machine_was_lost(live: LiveSite, person: Callable[[], Person]) -> None:
    ada = opens(person, "ada", "ps1")
    ada.waits_for_notebook()
    says(ada, "print(open('numbers.csv').read().strip())", "1,2,3")
    live.kill("runtimes")
    notice = ada.page.locator("#machine-notice")
    expect(notice).to_contain_text("Your work is on a new machine, with its files as last saved", timeout=90_000)
    expect(ada.page.locator("#machine-word[data-machine=running] [data-word=idle]")).to_be_visible(timeout=90_000)
    says(ada, "print('again', open('numbers.csv').read().strip())", "again 1,2,3")
    waits_and_goes_on_without_a_gpu(ada, opens(person, "ben", "lab"))


def waits_and_goes_on_without_a_gpu(ada: Person, ben: Person) -> None:
    notice = ben.page.locator("#machine-notice")
    expect(notice).to_contain_text("Next in the queue. All places are taken.", timeout=60_000)
    expect(notice).to_contain_text("How long that takes is not known yet")
    # htmx binds what it brought in a moment after it is shown: nobody is as quick as this test.
    with ben.page.expect_response("**/state/"):
        pass
    ben.page.locator("#use-fallback").click()
    expect(notice).to_contain_text("without waiting for GPU lab", timeout=60_000)
    # The one place is free, and nobody presses anything on the other page.
    ada.page.locator("#machine-menu summary").click()
    ada.page.locator("#machine-stop").click()
    expect(ben.page.locator("#machine-word[data-machine=running]")).to_be_visible(timeout=90_000)
    ben.waits_for_notebook()
    says(ben, "print('here')", "here")
    expect(notice).to_contain_text("the next start asks for GPU lab again")
