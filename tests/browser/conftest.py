"""Chromium from the system's packages; playwright only drives it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.test import override_settings
from playwright.sync_api import Browser, sync_playwright

from classroom.people.models import User
from tests.browser.person import PASSWORD, Person, shots_folder
from tests.live import LiveSite

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Chromium looks for its maker's hosts unless told not to; tests speak to loopback only.
FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--disable-gpu"]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "The browser tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def person(browser: Browser, live: LiveSite, tmp_path: Path) -> Iterator[Callable[[], Person]]:
    """Someone who is not signed in yet. What each saw last is kept as last-N.png; then their pages are closed."""
    shots = shots_folder(tmp_path)
    everyone: list[Person] = []

    def arrive() -> Person:
        everyone.append(Person(browser, live.url, shots))
        return everyone[-1]

    yield arrive
    for number, one in enumerate(everyone):
        one.page.screenshot(path=shots / f"last-{number}.png")
        if one.page.locator("#frame").count():
            sheet = one.notebook.locator(".jp-WindowedPanel-outer").first
            sheet.evaluate("element => element.scrollTo(0, 0)")
            one.page.screenshot(path=shots / f"last-{number}-top.png")
        one.context.close()


@pytest.fixture
def grace_account(live: LiveSite) -> str:
    """The one account that exists: a teacher who may make courses."""

    def make() -> None:
        # The site that runs has the product's own hash of passwords, not the tests' fast one.
        with live.orm(), override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"]):
            grace = User.objects.create_user("grace", "grace@example.org", PASSWORD, display_name="Grace Hopper")
            grace.user_permissions.add(
                Permission.objects.get(content_type__app_label="classroom", codename="add_course")
            )

    # Playwright keeps an event loop in this thread, where Django refuses the database.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(make).result()
    return "grace"


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nbgrader's own quickstart course, made by the installed nbgrader: the folder source/ps1."""
    folder = tmp_path_factory.mktemp("quickstart")
    subprocess.run(
        [sys.executable, "-m", "nbgrader", "quickstart", "course101"], cwd=folder, check=True, capture_output=True
    )
    return folder / "course101" / "source" / "ps1"
