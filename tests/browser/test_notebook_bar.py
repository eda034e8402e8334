"""The bar above the notebook, in Chromium: what it says, the way out of the frame, what it does when things break."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import APIResponse, Frame, Locator, Page, Route, expect

from tests.browser.person import PASSWORD, Person
from tests.live import LiveSite
from tests.runtimes.jupyter.attacks import ATTACKS, leaks

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(600)]

# Runs in a process of the live site, so that files land in its storage.
COURSE = f"""
from classroom import courses
from classroom.models import Enrollment
from classroom.people.models import User
from tests.classroom.work import published, source
grace = User.objects.create_user("gina", "gina@example.org", "{PASSWORD}", display_name="Gina")
course = courses.create(slug="bar", title="Bars", term="", time_zone="Europe/Paris", by=grace)
for name in ("ada1", "ada2", "ben1", "cleo1", "cleo2", "dan1", "dan2", "eve1", "eve2"):
    student = User.objects.create_user(name, name + "@example.org", "{PASSWORD}", display_name=name.capitalize())
    Enrollment.objects.create(course=course, user=student, role="student")
published(course, grace, more={{"problem2.ipynb": source()}})
published(course, grace, slug="other")
"""
SUBMISSIONS = """
from grading.models import Submission
print(Submission.objects.filter(authors__username="{student}").count())
"""
HELD = """
from classroom.queries import notebook
from runtimes.models import Runtime
print(notebook.isolation_words(Runtime.objects.get(workspace__slug="{slug}")))
"""
# Keeps each word that the bar says of saving, where the test can read it.
HEAR = """() => {
  const word = document.getElementById("saved-word");
  const hear = () => { document.body.dataset.said = `${document.body.dataset.said ?? ""}|${word.textContent}`; };
  new MutationObserver(hear).observe(word, {childList: true, characterData: true, subtree: true});
}"""


@pytest.fixture(scope="module")
def course(live: LiveSite) -> str:
    live.manage("shell", "-c", COURSE)
    return "/c/bar/"


# Whoever tries a test again does so as somebody whose work is still untouched.
TRIES: Counter[str] = Counter()


def opened(person: Callable[[], Person], course: str, name: str) -> Person:
    """Someone in the notebook of the problem set, with a kernel."""
    TRIES[name] += 1
    someone = person()
    someone.sign_in(f"{name}{TRIES[name]}")
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
    ada.page.evaluate(HEAR)
    ada.types(ada.cell("YOUR CODE HERE"), "def squares(n):\n    return [i * i for i in range(n)]")
    expect(ada.page.locator("body")).to_have_attribute("data-said", re.compile(r"\|Saving….*\|Saved[^|]*$"))
    expect(ada.page.locator("#saved[data-how=saved]")).to_be_visible(timeout=30_000)
    # This browser's own clock is not the course's.
    now = datetime.now(ZoneInfo("Europe/Paris"))
    lately = "|".join(f"{now - timedelta(minutes=ago):%H:%M}" for ago in range(3))
    expect(ada.page.locator("#saved-word")).to_have_text(re.compile(rf"^Saved ({lately})$"))
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
    # What is still being saved may get through for a moment, and the bar then rightly says so.
    expect(ada.page.locator("#saved[data-how=saved]")).to_be_visible(timeout=30_000)
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
    restarts_while_the_bar_asks_how_things_are(ada)
    expect(ada.page.locator("#machine-word[data-machine=running]")).to_be_visible(timeout=90_000)
    expect(ada.page.locator("#notice-restart")).to_have_count(0, timeout=30_000)


def restarts_while_the_bar_asks_how_things_are(ada: Person) -> None:
    """Its answer, in which nothing is left to restart, comes before that to the click."""
    answers: list[tuple[Route, APIResponse]] = []
    ada.page.route("**/kernel/", lambda route: answers.append((route, route.fetch())), times=1)
    ada.page.locator("#notice-restart").click()
    while not answers:
        ada.page.wait_for_timeout(100)
    with ada.page.expect_response("**/state/**"):
        ada.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    [(route, answer)] = answers
    route.fulfill(response=answer)


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
    expect(ada.page.locator("#handed-in")).to_have_text(re.compile(r"(?<!be )(?<!being )graded"), timeout=30_000)


def test_a_refused_ticket_offers_to_open_again(person: Callable[[], Person], course: str) -> None:
    ben = person()
    ben.sign_in("ben1")
    ben.visit(course)
    # What a page from the browser's memory would send: a ticket that is no longer good.
    ben.page.route("**/enter", lambda route: route.continue_(post_data="ticket=old&next=problem1.ipynb"), times=1)
    ben.press("Open")
    expect(ben.page.locator("#refused")).to_be_visible(timeout=60_000)
    ben.page.locator("#enter-again").click()
    ben.waits_for_notebook()
    expect(ben.page.locator("#refused")).to_be_hidden()


def test_a_submit_that_does_not_arrive_is_told(live: LiveSite, person: Callable[[], Person], course: str) -> None:
    """Signed out meanwhile, or signed in anew in another tab, or a site that does not answer: never nothing."""
    eve = opened(person, course, "eve")
    cookies = eve.context.cookies(live.url)
    trouble = eve.page.locator("#trouble")
    eve.context.clear_cookies(name="site")
    eve.press("Submit")
    expect(trouble.get_by_text("You are signed out")).to_be_visible(timeout=30_000)
    eve.context.add_cookies(cookies)
    eve.page.route("**/submit/", lambda route: route.abort(), times=1)
    eve.press("Submit")
    expect(trouble.get_by_text("did not answer")).to_be_visible(timeout=30_000)
    eve.context.clear_cookies(name="csrf")
    eve.press("Submit")
    expect(trouble.get_by_text("since this page was loaded")).to_be_visible(timeout=30_000)
    trouble.get_by_role("link", name="Load again").click()
    eve.waits_for_notebook()
    expect(trouble).to_be_hidden()
    eve.press("Submit")
    expect(eve.page.locator("#receipt-title")).to_have_text("Handed in", timeout=60_000)


def test_the_bar_interrupts_and_restarts_a_kernel_and_says_what_holds(
    live: LiveSite, person: Callable[[], Person], course: str
) -> None:
    dan = opened(person, course, "dan")
    runs(dan, dan.cell("YOUR CODE HERE"), "import time\nkept = 'here'\nfor _ in range(6000): time.sleep(0.1)")
    with machine_menu(dan) as menu:
        menu.locator("button", has_text="Interrupt").click(timeout=60_000)
    expect(dan.cell("kept = 'here'").locator(".jp-OutputArea")).to_contain_text("KeyboardInterrupt", timeout=60_000)
    runs(dan, dan.cell("kept = 'here'"), "print('kept' in globals())")
    expect(dan.cell("in globals()").locator(".jp-OutputArea")).to_have_text("True", timeout=60_000)
    with machine_menu(dan) as menu:
        menu.locator("button", has_text="Restart").click()
    expect(dan.page.locator("#machine-word[data-machine=running] [data-word=idle]")).to_be_visible(timeout=90_000)
    runs(dan, dan.cell("in globals()"), "print('kept' in globals(), 'afresh')")
    expect(dan.cell("afresh").locator(".jp-OutputArea")).to_have_text("False afresh", timeout=60_000)
    slug = notebook_frame(dan).url.partition("//")[2].partition(".")[0]
    held = live.manage("shell", "-v", "0", "-c", HELD.format(slug=slug)).strip()
    assert held.startswith("own user, process, file, network and memory-sharing namespaces; dangerous system calls")
    with machine_menu(dan) as menu:
        expect(menu.locator("dl").first).to_contain_text(held)
        expect(menu).to_contain_text("Memory in use")
        menu.locator("#machine-stop").click()
        expect(dan.page.locator("#machine-word[data-machine=stopped]")).to_be_attached(timeout=60_000)
        expect(menu).not_to_contain_text("Memory in use")


@contextmanager
def machine_menu(someone: Person) -> Iterator[Locator]:
    """The menu of kernel and machine, open inside; it lies above the notebook."""
    summary = someone.page.locator("#machine-menu summary")
    summary.click()
    yield someone.page.locator("#machine-menu .menu__sheet")
    summary.click()
    expect(someone.page.locator("#machine-menu .menu__sheet")).to_be_hidden()


def runs(someone: Person, cell: Locator, code: str) -> None:
    someone.types(cell, code)
    someone.page.keyboard.press("Shift+Enter")


def notebook_frame(someone: Person, page: Page | None = None) -> Frame:
    frame = (page or someone.page).frame(name="notebook")
    assert frame is not None
    return frame


def test_scripts_in_a_notebook_reach_neither_the_site_nor_another_notebook_nor_the_top_page(
    live: LiveSite, person: Callable[[], Person], course: str
) -> None:
    cleo = opened(person, course, "cleo")
    submit = cleo.page.locator("#submit-form").get_attribute("action")
    # The other assignment's notebook is open, too: its cookie is in the browser.
    beside = cleo.context.new_page()
    beside.goto(f"{live.url}{course}a/other/")
    beside.get_by_role("button", name="Open").click()
    expect(beside.frame_locator("#frame").locator(".jp-Notebook .jp-Cell").first).to_be_visible(timeout=90_000)
    other, mine, before = _origin(notebook_frame(cleo, beside)), _origin(notebook_frame(cleo)), cleo.page.url
    # Output runs in the notebook's own page, as this does.
    got = notebook_frame(cleo).evaluate(ATTACKS, [live.url, other, submit])
    assert not leaks(got)
    assert (cleo.page.url, _origin(notebook_frame(cleo))) == (before, mine)
    count = SUBMISSIONS.format(student=f"cleo{TRIES['cleo']}")
    assert live.manage("shell", "-v", "0", "-c", count).strip() == "0"
    # The address is one that the bar itself can press.
    cleo.page.reload()
    cleo.waits_for_notebook()
    cleo.page.locator("#submit-button").click()
    expect(cleo.page.locator("#receipt-dialog .receipt")).to_be_visible(timeout=60_000)


def _origin(frame: Frame) -> str:
    return "/".join(frame.url.split("/")[:3])
