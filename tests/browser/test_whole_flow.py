"""The product's spine in a real browser: publish, open, work, submit, autograde, review, feedback."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from tests.browser.person import PASSWORD, Person
from tests.grading.corpus import SQUARES, SUM
from tests.live import LiveSite

CLASS_LIST = """email,name,role,section
tim@example.org,Tim Berners-Lee,ta,A
ada@example.org,Ada Lovelace,student,A
ben@example.org,Ben Franklin,student,A
"""


@pytest.fixture
def live(django_db_blocker: Any) -> Iterator[LiveSite]:
    """A site without any course, new for each try: the first has made the course and its people."""
    with LiveSite(django_db_blocker) as site:
        yield site


@pytest.mark.timeout(900)
def test_a_course_from_its_first_page_to_feedback_read(
    live: LiveSite, person: Callable[[], Person], grace_account: str, quickstart: Path
) -> None:
    grace = person()
    grace.sign_in(grace_account)
    make_course(grace)
    links = add_people(grace)
    tim, ada, ben = (join(person(), links[name]) for name in ("Tim Berners-Lee", "Ada Lovelace", "Ben Franklin"))
    publish_problem_set(grace, quickstart)
    publish_tutorial(grace, quickstart)

    open_problem_set(ada)
    answer(ada, SQUARES, SUM)
    survives_a_reload(ada)
    submit(ada)
    open_problem_set(ben)
    answer(ben, "def squares(n):\n    return []\n", SUM, runs=2)
    submit(ben)

    mark(tim)
    return_feedback(grace)
    read_feedback(ada, comment="Clear, and general.")
    read_feedback(ben, comment="")
    overview(grace)
    for someone in (grace, tim, ada, ben):
        assert someone.troubles == []


def make_course(grace: Person) -> None:
    grace.looks("home-empty")
    grace.visit("/courses/new/")
    grace.page.fill("[name=title]", "Intro to Data Science")
    grace.page.fill("[name=slug]", "ids")
    grace.looks("course-new")
    grace.page.fill("[name=title]", "Intro to Data Science")
    grace.page.fill("[name=slug]", "ids")
    grace.press("Make the course")
    expect(grace.page.locator("h1")).to_have_text("Intro to Data Science")


def add_people(grace: Person) -> dict[str, str]:
    """Returns the printed invitation of each."""
    grace.visit("/c/ids/people/add/")
    grace.looks("people-add")
    grace.page.fill("[name=text]", CLASS_LIST + "not an address,Nobody,student,A\n")
    grace.press("Show what would change")
    grace.reads("1 line is wrong and will be left out")
    grace.reads("3 people join")
    grace.checks_accessibility("people-preview")
    grace.page.screenshot(path=grace.shots / "people-preview.png", full_page=True)
    mail = grace.page.locator("input[name=mail]")
    if mail.is_checked():
        mail.uncheck()
    grace.press("Apply")
    if not re.search("invitations", grace.page.url):
        grace.press("A sheet to print")
    slips = grace.page.locator(".slip")
    expect(slips).to_have_count(3)
    return {slip.locator("h2").inner_text().split(" · ")[0]: slip.locator("code").inner_text() for slip in slips.all()}


def join(someone: Person, link: str) -> Person:
    someone.visit(link)
    someone.reads("Welcome")
    someone.page.fill("[name=password]", PASSWORD)
    someone.page.fill("[name=again]", PASSWORD)
    someone.press("Choose this password")
    expect(someone.page.get_by_role("link", name="Intro to Data Science").first).to_be_visible()
    return someone


def publish_problem_set(grace: Person, source: Path) -> None:
    grace.visit("/c/ids/assignments/new/")
    grace.looks("assignment-new")
    grace.page.fill("[name=title]", "Problem set 1")
    grace.page.fill("[name=slug]", "ps1")
    grace.page.fill("[name=unit]", "Week 1")
    grace.page.set_input_files("[name=uploads]", sorted(source.iterdir()))
    grace.press("Upload and check")
    grace.reads("Your solution gets full marks.", seconds=180)
    grace.looks("assignment-checked")
    preview(grace)
    due = timezone.now() + timedelta(days=3)
    grace.press("Publish")
    grace.reads("What will happen")
    grace.page.fill("[name=due_at]", due.strftime("%Y-%m-%dT%H:%M"))
    grace.looks("publish")
    grace.page.fill("[name=due_at]", due.strftime("%Y-%m-%dT%H:%M"))
    grace.press("Publish")
    grace.reads("open")


def preview(grace: Person) -> None:
    """The student's version, as a student has it."""
    there = grace.page.url
    grace.press("Preview as student")
    grace.waits_for_notebook()
    expect(grace.cell("YOUR CODE HERE")).to_be_visible()
    expect(grace.notebook.get_by_text("BEGIN SOLUTION")).to_have_count(0)
    grace.visit(there)


def publish_tutorial(grace: Person, source: Path) -> None:
    grace.visit("/c/ids/assignments/new/")
    grace.page.check("[name=kind][value=tutorial]")
    grace.page.fill("[name=title]", "Reading notebooks")
    grace.page.fill("[name=unit]", "Week 1")
    grace.page.set_input_files("[name=uploads]", [source / "problem2.ipynb"])
    grace.press("Upload and check")
    grace.reads("A tutorial is given out as it is")
    grace.page.reload()
    grace.press("Publish")
    grace.reads("It is a tutorial")
    grace.press("Publish")
    grace.visit("/c/ids/teach/")
    grace.looks("teach-course")


def open_problem_set(student: Person) -> None:
    student.visit("/c/ids/")
    student.looks("course")
    student.page.get_by_role("button", name="Open · Problem set 1").click()
    student.waits_for_notebook()


def answer(student: Person, squares: str, sum_of_squares: str, runs: int = 6) -> None:
    """Types the answers, runs all, waits until so many cells have run (the first error stops the rest)."""
    student.types(student.cell("def squares(n)"), squares)
    student.types(student.cell("def sum_of_squares(n)"), sum_of_squares)
    student.menu("Run", "Run All Cells")
    done = student.notebook.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]:"))
    expect(done.nth(runs - 1)).to_be_attached(timeout=60_000)
    expect(student.page.locator("#saved-word")).to_contain_text("Saved", timeout=30_000)
    # Run All leaves the page at its end; the picture in the documentation shows what was run.
    student.cell("def squares(n)").scroll_into_view_if_needed()
    student.looks("notebook", frames=True)


def survives_a_reload(student: Person) -> None:
    student.page.reload()
    student.waits_for_notebook()
    expect(student.cell("def squares(n)")).to_contain_text("must be greater than or equal to 1")
    expect(student.notebook.locator(".jp-OutputArea-output").first).to_be_attached()


def submit(student: Person) -> None:
    student.press("Submit")
    expect(student.page.locator("#receipt-title")).to_have_text("Handed in", timeout=60_000)
    code = student.page.locator("#receipt code, #receipt .code").first.inner_text()
    assert code
    student.page.screenshot(path=student.shots / "receipt-dialog.png")
    # Not "waiting to be graded": whoever marks finds both waiting.
    expect(student.page.locator("#receipt")).to_contain_text("The tests have run.", timeout=120_000)
    student.page.locator("#receipt").get_by_role("link", name="Receipt", exact=True).click()
    student.looks("receipt")


def mark(tim: Person) -> None:
    """Ada and then Ben: what no test scored, and a word for Ada."""
    tim.visit("/c/ids/a/ps1/submissions/")
    tim.looks("submissions")
    tim.page.get_by_role("link", name="Ada Lovelace").click()
    tim.looks("review")
    scores(tim, "1")
    comment = tim.page.locator("textarea[data-comment]:visible").first
    comment.fill("Clear, and general.")
    tim.press("Finish, next")
    expect(tim.page.locator("h1")).to_have_text("Ben Franklin", timeout=30_000)
    scores(tim, "0")
    tim.press("Finish, next")
    tim.reads("Everything is marked.")


def scores(tim: Person, points: str) -> None:
    """Types a score into each field that the tests left open."""
    for box in tim.page.locator("input[data-score][placeholder='']").all():
        box.fill(points)
        box.press("Enter")


def return_feedback(grace: Person) -> None:
    grace.visit("/c/ids/a/ps1/submissions/")
    grace.page.get_by_text("Return feedback for 2 submissions").click()
    grace.page.locator("details[open]").get_by_role("button", name="Return feedback").click()
    expect(grace.page.get_by_role("cell", name="returned").first).to_be_visible()


def read_feedback(student: Person, comment: str) -> None:
    student.visit("/")
    student.looks("home")
    student.page.get_by_role("link", name=re.compile("Read feedback")).first.click()
    expect(student.page.locator("h1")).to_be_visible()
    if comment:
        student.reads(comment)
    student.looks("feedback")


def overview(grace: Person) -> None:
    for path, name in (("/c/ids/gradebook/", "gradebook"), ("/c/ids/people/", "people"), ("/profile/", "profile")):
        grace.visit(path)
        grace.looks(name)
    gradebook_by_keyboard(grace)


def gradebook_by_keyboard(grace: Person) -> None:
    """One stop for Tab; arrows, Home and End between cells; Enter opens what is behind one."""
    grace.visit("/c/ids/gradebook/")
    grid = grace.page.get_by_role("grid")
    grid.get_by_role("link", name="Ada Lovelace").focus()
    focused = grace.page.locator(":focus")
    for key, text in (("ArrowDown", "Ben Franklin"), ("End", "0"), ("ArrowUp", ""), ("Home", "Ada Lovelace")):
        grace.page.keyboard.press(key)
        expect(focused).to_contain_text(text)
    grace.page.keyboard.press("Control+End")
    expect(grid.locator("tbody tr").last.locator("td").last.locator("a")).to_be_focused()
    grace.page.keyboard.press("Tab")
    assert not grid.evaluate("grid => grid.contains(document.activeElement)")
    grace.page.keyboard.press("Shift+Tab")
    grace.page.keyboard.press("Enter")
    expect(grace.page).to_have_url(re.compile("/review/"))
