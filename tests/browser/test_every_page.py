"""Every page, filled, as anyone may meet it: a phone and a wide window, light and dark, English and French.

axe finds nothing, no page is wider than a phone, and the console is silent. A page of `test_every_url` that is neither
looked at here nor named as no page to look at fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.person import Person
from tests.live import LiveSite
from tests.security.test_every_url import TABLE

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.timeout(600)]

FILL = "from tests.browser import filled; print('FILLED' + filled.fill())"
#: Who looks at what, by the names of the addresses.
PAGES = {
    "anyone": (
        "account_login", "account_signup", "account_inactive", "account_email_verification_sent",
        "account_confirm_email", "account_reset_password", "account_reset_password_done",
        "account_reset_password_from_key that is gone", "account_reset_password_from_key",
        "account_reset_password_from_key_done", "join that is gone", "join", "nothing there",
    ),
    "grace": (
        "home", "course_new", "course_order", "course_settings", "teach_course", "people", "people_add", "person",
        "assignment_new", "assignment_notebook", "assignment_publish", "assignment_publish of a draft",
        "assignment_settings", "assignment_settings of a draft", "assignment_settings of groups", "teach_assignment",
        "teach_assignment of a draft", "teach_assignment while its solution runs", "submissions", "review", "gradebook",
        "grading_run", "grading_log", "grading_log of what was set aside", "points", "regrades", "regrade", "groups",
        "course_usage", "patterns", "profile", "account_change_password", "account_reauthenticate", "account_logout",
    ),
    "tim": ("teach_course", "teach_assignment", "submissions", "grading_run", "people that are not his"),
    "ada": (
        "home", "course", "group", "check", "feedback", "feedback after a hidden test", "feedback_file", "hand_in",
        "receipt",
    ),
    "ben": ("course", "group", "check of nothing yet", "hand_in with a cell missing", "receipt of what waits"),
    "root": (
        "admin", "admin with a list", "machines", "machine_new", "machine", "machine of a GPU", "operate", "usage",
        "usage by person", "usage of no period",
    ),
}  # fmt: skip
#: What the address of one page only leads to, what is a file or a piece of a page, and what other tests look at.
LEADS_ON = {"account_email", "email", "account_set_password", "account_confirm_login_code", "join_password", "work"}
FILES = {
    "assignment_source", "course_usage_export", "download", "gradebook_export", "javascript-catalog", "metrics",
    "people_export", "receipt_files", "receipt_text", "review_files", "set_language", "usage_export",
}  # fmt: skip
PIECES = {"assignment_check", "notebook_machine", "notebook_state", "receipt_state", "review_here"}
IN_THE_WHOLE_FLOW = {"notebook"}
#: Pages that say no.
STATUS = {
    "join that is gone": 410, "nothing there": 404, "people that are not his": 403, "points as they are": 422,
    "usage of no period": 422,
}  # fmt: skip
CLASS_LIST = "email,name,role,section\nzoe@example.org,Zoé,student,C\nben@example.org,Ben,student,B\nnobody,?,?,?"
SIGN_IN = {"[name=login]": "ada", "[name=password]": "a guess"}


def sends(page: Page, fields: dict[str, str], button: str = "main form .button--primary") -> int:
    """Fills in and sends a form of the page; the status of what it leads to."""
    for selector, text in fields.items():
        page.fill(selector, text)
    with page.expect_navigation() as reached:
        page.click(button)
    return reached.value.status if reached.value else 0


#: What a form leads to → who fills it in, the page that it is on, and how.
ACTS: dict[str, tuple[str, str, Callable[[Page], int]]] = {
    "people preview": ("grace", "people_add", lambda page: sends(page, {"[name=text]": CLASS_LIST})),
    "people_invitations": ("grace", "people", lambda page: sends(page, {}, "[name=how][value=print]")),
    "points as they are": ("grace", "points", lambda page: sends(page, {})),
    "account_login that fails": ("anyone", "account_login", lambda page: sends(page, SIGN_IN)),
}


@pytest.fixture(scope="module")
def filled(live: LiveSite) -> dict[str, dict[str, str]]:
    made: dict[str, dict[str, str]] = json.loads(live.manage("shell", "-c", FILL).split("FILLED")[1])
    return made


def test_every_page_is_looked_at() -> None:
    seen = {name.split()[0] for names in PAGES.values() for name in names}
    pages = {name for method, name in TABLE if method == "GET"}
    assert pages - seen - LEADS_ON - FILES - PIECES - IN_THE_WHOLE_FLOW == set()


@pytest.mark.parametrize("who", PAGES)
def test_every_page_is_for_everyone(who: str, filled: dict[str, dict[str, str]], person: Callable[[], Person]) -> None:
    someone = person()
    if who != "anyone":
        someone.comes_with(filled["sessions"][who])
    someone.page.route("**/feedback/*/file/", opened_from_disk)
    pages = filled["pages"]
    wrong = []
    for name in PAGES[who]:
        wrong += someone.looks_over(name, pages[name], status=STATUS.get(name, 200))
    for name, (_who, page, act) in ACTS.items():
        if _who == who:
            wrong += someone.looks_over(name, pages[page], act=act, status=STATUS.get(name, 200))
    assert not wrong, "\n".join(wrong)


def test_what_is_wrong_in_a_long_form_is_gone_to(
    filled: dict[str, dict[str, str]], person: Callable[[], Person]
) -> None:
    root = person()
    root.comes_with(filled["sessions"]["root"])
    root.visit(filled["pages"]["machine_new"])
    root.page.fill("[name=name]", "Lab")
    root.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert sends(root.page, {"[name=tolerations]": "{"}) == 422
    wrong = root.page.locator("[name=tolerations]")
    expect(wrong).to_be_focused()
    expect(wrong).to_be_in_viewport()


def test_who_is_not_signed_in_is_asked_to(filled: dict[str, dict[str, str]], person: Callable[[], Person]) -> None:
    anyone = person()
    anyone.visit(filled["pages"]["course"])
    expect(anyone.page).to_have_url(re.compile("/accounts/login/"))


def opened_from_disk(route: Route) -> None:
    """Shows what is a download, without the headers of one."""
    route.fulfill(body=route.fetch().body(), content_type="text/html; charset=utf-8")
