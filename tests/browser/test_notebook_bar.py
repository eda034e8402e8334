"""The bar above the notebook, in Chromium: what it says, the way out of the frame, what it does when things break."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.person import PASSWORD, Person
from tests.live import LiveSite

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(600)]

# Runs in a process of the live site, so that files land in its storage.
COURSE = f"""
from classroom import courses
from classroom.models import Enrollment
from classroom.people.models import User
from tests.classroom.work import published, source
grace = User.objects.create_user("gina", "gina@example.org", "{PASSWORD}", display_name="Gina")
course = courses.create(slug="bar", title="Bars", term="", time_zone="Europe/Paris", by=grace)
for name in ("ada", "ben"):
    student = User.objects.create_user(name, name + "@example.org", "{PASSWORD}", display_name=name.capitalize())
    Enrollment.objects.create(course=course, user=student, role="student")
published(course, grace, more={{"problem2.ipynb": source()}})
"""


@pytest.fixture(scope="module")
def course(live: LiveSite) -> str:
    live.manage("shell", "-c", COURSE)
    return "/c/bar/"


def opened(person: Callable[[], Person], course: str, username: str) -> Person:
    """Someone in the notebook of the problem set, with a kernel."""
    someone = person()
    someone.sign_in(username)
    someone.visit(course)
    someone.press("Open")
    someone.waits_for_notebook()
    return someone


def test_the_bar_in_a_working_day(live: LiveSite, person: Callable[[], Person], course: str) -> None:
    ada = opened(person, course, "ada")
    asked: list[str] = []
    ada.page.on("request", lambda request: asked.append(request.url))
    says_saved_after_typing(ada)
    is_warned_of_a_copied_test_and_restores(ada)
    goes_to_the_other_notebook_and_back(ada)
    leaves_the_frame_by_keyboard(ada)
    tells_of_a_lost_connection(ada)
    stops_and_restarts_the_machine(ada)
    checks_before_submitting(ada)
    submits_and_follows(ada)
    assert not [url for url in asked if "ticket=" in url]
    # The one that Notebook 7 itself prints on any server.
    assert [trouble for trouble in ada.troubles if "reading 'schema'" not in trouble] == []


def says_saved_after_typing(ada: Person) -> None:
    ada.types(ada.cell("YOUR CODE HERE"), "def squares(n):\n    return [i * i for i in range(n)]")
    expect(ada.page.locator("#saved[data-how=saved]")).to_be_visible(timeout=30_000)
    ada.page.reload()
    ada.waits_for_notebook()
    expect(ada.cell("return [i * i for i in range(n)]")).to_be_visible()
    expect(ada.page.locator("#time-left")).to_contain_text("due in")


def is_warned_of_a_copied_test_and_restores(ada: Person) -> None:
    ada.cell("assert squares(3)").locator(".jp-InputPrompt").first.click()
    ada.page.keyboard.press("c")
    ada.page.keyboard.press("v")
    # Within a second or so of the save; a busy machine may take longer.
    expect(ada.page.locator("#findings")).to_contain_text("is a copy of the graded cell “tests”", timeout=30_000)
    ada.page.locator("#restore").click()
    expect(ada.page.locator("#findings")).to_contain_text("It is put back.", timeout=30_000)
    expect(ada.notebook.locator(".jp-Cell").filter(has_text="assert squares(3)")).to_have_count(2)
    expect(ada.cell("return [i * i for i in range(n)]")).to_be_visible()


def goes_to_the_other_notebook_and_back(ada: Person) -> None:
    menu = ada.page.locator("details:has(#path-word)")
    menu.locator("summary").click()
    menu.get_by_role("link", name="problem2.ipynb").click()
    expect(ada.cell("YOUR CODE HERE")).to_be_visible(timeout=60_000)
    expect(ada.page).to_have_url(re.compile(r"\?path=problem2\.ipynb$"))
    menu.locator("summary").click()
    menu.get_by_role("link", name="problem1.ipynb").click()
    expect(ada.cell("return [i * i for i in range(n)]")).to_be_visible(timeout=60_000)


def leaves_the_frame_by_keyboard(ada: Person) -> None:
    ada.cell("return [i * i for i in range(n)]").locator(".cm-content").first.click()
    assert ada.page.evaluate("document.activeElement.id") == "frame"
    ada.page.keyboard.press("F6")
    expect(ada.page.locator("#bar")).to_be_focused()
    ada.page.keyboard.press("F6")
    expect(ada.page.locator("#frame")).to_be_focused()
    ada.page.keyboard.press("Shift+F6")
    expect(ada.page.locator("#after-frame")).to_be_focused()


def tells_of_a_lost_connection(ada: Person) -> None:
    ada.context.set_offline(True)
    expect(ada.page.locator("#offline")).to_be_visible(timeout=30_000)
    expect(ada.page.locator("#saved-word")).to_contain_text("Not saved")
    ada.context.set_offline(False)
    expect(ada.page.locator("#offline")).to_be_hidden(timeout=60_000)


def stops_and_restarts_the_machine(ada: Person) -> None:
    ada.page.locator("#machine-menu summary").click()
    ada.reads("Disk in use")
    ada.page.locator("#machine-stop").click()
    ada.reads("Your work is saved.", seconds=60)
    ada.page.locator("#notice-restart").click()
    expect(ada.page.locator("#machine-word[data-machine=running]")).to_be_visible(timeout=90_000)
    expect(ada.page.locator("#notice-restart")).to_have_count(0, timeout=30_000)


def checks_before_submitting(ada: Person) -> None:
    """Every test that can be seen, of both notebooks: the second is as it was given out."""
    ada.page.get_by_role("button", name="Check", exact=True).click()
    dialog = ada.page.locator("#check-dialog")
    expect(dialog).to_contain_text("1 of 2 test cells passed", timeout=180_000)
    dialog.get_by_role("button", name="Go on working").click()
    expect(dialog).to_be_hidden()


def submits_and_follows(ada: Person) -> None:
    ada.page.locator("#submit-button").click()
    dialog = ada.page.locator("#receipt-dialog")
    expect(dialog.locator(".receipt")).to_be_visible(timeout=60_000)
    expect(dialog.locator(".score")).to_have_text("2/10", timeout=120_000)
    dialog.get_by_role("button", name="Go on working").click()
    expect(ada.page.locator("#handed-in")).to_contain_text("graded", timeout=30_000)


def test_a_refused_ticket_offers_to_open_again(person: Callable[[], Person], course: str) -> None:
    ben = person()
    ben.sign_in("ben")
    ben.visit(course)
    # What a page from the browser's memory would send: a ticket that is no longer good.
    ben.page.route("**/enter", lambda route: route.continue_(post_data="ticket=old&next=problem1.ipynb"), times=1)
    ben.press("Open")
    expect(ben.page.locator("#refused")).to_be_visible(timeout=60_000)
    ben.page.locator("#enter-again").click()
    ben.waits_for_notebook()
    expect(ben.page.locator("#refused")).to_be_hidden()
