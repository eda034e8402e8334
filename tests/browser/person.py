"""Someone at a browser: pages, the notebook in its frame, screenshots and an accessibility check on every page."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FrameLocator, Locator, Page, expect

# A context's default timeout is for actions alone: what is expected of a page is waited for as patiently.
expect.set_options(timeout=60_000)
PASSWORD = "correct horse battery staple"
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
LOOKS = [
    ("wide-light-en", WIDE, "light", "en"),
    ("wide-dark-fr", WIDE, "dark", "fr"),
    ("phone-light-fr", PHONE, "light", "fr"),
    ("phone-dark-en", PHONE, "dark", "en"),
]
# WCAG 2.2 A and AA, as docs/accessibility.md promises.
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
}
# Our own page only: the frame's content is Notebook 7's. Only what is wrong comes back: all that is right is large.
RUN_AXE = "rules => axe.run({exclude: [['iframe']]}, rules).then(found => found.violations)"


# Endless ones have no end to go to.
END_TRANSITIONS = """() => document.getAnimations().forEach(one => {
    if (Number.isFinite(one.effect.getComputedTiming().endTime)) one.finish();
})"""
STICKS_OUT = """() => {
    const width = document.documentElement.clientWidth;
    const scrolls = one => one && (getComputedStyle(one).overflowX !== 'visible' || scrolls(one.parentElement));
    const out = [...document.querySelectorAll('main *')]
        .filter(one => one.getBoundingClientRect().right > width + 0.5 && !scrolls(one.parentElement));
    const named = one => one.tagName.toLowerCase() + [...one.classList].map(name => '.' + name).join('');
    return [document.documentElement.scrollWidth, out.slice(-4).map(named)];
}"""


class Person:
    """One person in a browser context of their own. `seen` has every address that they looked at."""

    def __init__(self, browser: Browser, url: str, shots: Path) -> None:
        self.url = url
        self.shots = shots
        self.context = browser.new_context(viewport=WIDE, locale="en-GB")
        # Notebook 7 draws cells when the browser is idle, which on a crowded machine takes its time.
        self.context.set_default_timeout(90_000)
        self.page: Page = self.context.new_page()
        self.troubles: list[str] = []
        self.page.on("pageerror", self._failed)
        self.page.on("console", self._heard)

    def _failed(self, error: Any) -> None:
        # Errors of the stock front end's own files are upstream's noise; those of ours (/own/) are not.
        stack = error.stack or ""
        if "//static.localhost" not in stack or "/own/" in stack:
            self.troubles.append(str(error))

    def _heard(self, message: Any) -> None:
        # The notebook's own frame is not ours to judge: its console has upstream's noise (docs/accessibility.md).
        if message.type != "error" or self.url not in (message.location or {}).get("url", ""):
            return
        # Screenshots (to hide the caret) and axe bring styles of their own, which our policy refuses, and says so.
        if not message.text.startswith("Applying inline style"):
            self.troubles.append(message.text)

    def sign_in(self, username: str, password: str = PASSWORD) -> None:
        self.page.goto(f"{self.url}/accounts/login/")
        self.page.fill("[name=login]", username)
        self.page.fill("[name=password]", password)
        self.page.press("[name=password]", "Enter")
        expect(self.page).not_to_have_url(re.compile("/accounts/login/"))

    def comes_with(self, session: str) -> None:
        """Signed in by a session that was made for them."""
        self.context.add_cookies([{"name": "site", "value": session, "url": self.url}])

    def visit(self, path: str) -> int:
        """Returns the status that the page came with."""
        answer = self.page.goto(path if path.startswith("http") else self.url + path)
        return answer.status if answer else 0

    def press(self, name: str, **options: Any) -> None:
        """Press the button or follow the link of that name."""
        button = self.page.get_by_role("button", name=name, **options)
        (button if button.count() else self.page.get_by_role("link", name=name, **options)).first.click()

    def reads(self, text: str, seconds: float = 60) -> None:
        """Waits until the page says so."""
        expect(self.page.get_by_text(text).filter(visible=True).first).to_be_visible(timeout=seconds * 1000)

    # --- the notebook in its frame

    @property
    def notebook(self) -> FrameLocator:
        return self.page.frame_locator("#frame")

    def waits_for_notebook(self) -> None:
        """Until the document is shown and a kernel is there."""
        expect(self.notebook.locator(".jp-Notebook .jp-Cell").first).to_be_visible(timeout=90_000)
        expect(self.notebook.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_attached(
            timeout=90_000
        )
        expect(self.page.locator("#saved-word")).to_contain_text("Saved", timeout=60_000)

    def cell(self, words: str) -> Locator:
        return self.notebook.locator(".jp-Cell").filter(has_text=words).first

    def types(self, cell: Locator, source: str) -> None:
        """Replaces the cell's source at the keyboard."""
        editor = cell.locator(".cm-content").first
        editor.scroll_into_view_if_needed()
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)

    def menu(self, *names: str) -> None:
        """Chooses from the notebook's own menu bar."""
        self.notebook.locator(".lm-MenuBar-itemLabel", has_text=names[0]).first.click()
        self.notebook.locator(".lm-Menu-itemLabel", has_text=names[1]).first.click()

    # --- looking

    def looks(self, name: str, frames: bool = False) -> None:
        """Screenshots in every look, no page wider than the phone, and axe finds nothing."""
        self.checks_accessibility(name)
        for look, size, scheme, language in LOOKS:
            with self._look(size, scheme, language):
                if size is PHONE:
                    self._fits(name, frames)
                self.page.screenshot(path=self.shots / f"{name}-{look}.png", full_page=not frames)

    def looks_over(
        self, name: str, path: str, *, status: int = 200, act: Callable[[Page], int] | None = None
    ) -> list[str]:
        """What is wrong with a page, or with what `act` on it leads to, all unfolded that can be: its status; what axe
        finds in a wide window and, dark, on a phone; that it is wider than the phone, in English or French; what the
        console says. Pictures only if PUPITRE_SHOTS asks."""
        self.troubles.clear()
        wrong = []
        for language, looks in (("en", (LOOKS[0], LOOKS[3])), ("fr", (LOOKS[2],))):
            self.context.add_cookies([{"name": "django_language", "value": language, "url": self.url}])
            came = self.visit(path)
            came = act(self.page) if act else came
            wrong += [f"status {came}"] if came != status else []
            self.page.evaluate("document.querySelectorAll('details:not(.menu)').forEach(one => one.open = true)")
            for look, size, scheme, _language in looks:
                self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
                self.page.set_viewport_size(size)  # type: ignore[arg-type]
                wrong += self.violations() if language == "en" else []
                wrong += self._overflow() if size is PHONE else []
                if os.environ.get("PUPITRE_SHOTS"):
                    self.page.screenshot(path=self.shots / f"{name}-{look}.png", full_page=True)
        # A page that says no is told of in the console as well.
        heard = [one for one in self.troubles if status == 200 or f"a status of {status} " not in one]
        return [f"{name}: {one}" for one in wrong + heard]

    @contextmanager
    def _look(self, size: Any, scheme: Any, language: str) -> Iterator[None]:
        cookies = [{"name": "django_language", "value": language, "url": self.url}]
        self.context.add_cookies(cookies)  # type: ignore[arg-type]
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size(size)
        if language != "en":
            self.page.reload()
        try:
            self.page.wait_for_load_state("networkidle" if not self.page.locator("#frame").count() else "load")
            yield
        finally:
            self.context.clear_cookies(name="django_language")
            self.page.emulate_media(color_scheme="light")
            self.page.set_viewport_size(WIDE)  # type: ignore[arg-type]
            if language != "en":
                self.page.reload()

    def _fits(self, name: str, frames: bool) -> None:
        for button in self.page.locator(".nbbar .button:visible").all():
            box = button.bounding_box()
            assert box, button
            assert box["x"] + box["width"] <= PHONE["width"], f"{name}: {button} is cut off"
        if frames:
            return
        wide = self._overflow()
        assert not wide, f"{name}: {wide}"

    def _overflow(self) -> list[str]:
        """Says so if the page scrolls sideways on the phone, and what sticks out."""
        wide, what = self.page.evaluate(STICKS_OUT)
        return [f"wider than a phone: {wide} px ({', '.join(what)})"] if wide > PHONE["width"] or what else []

    def checks_accessibility(self, name: str) -> None:
        """Fails where axe finds something."""
        found = self.violations()
        assert not found, f"{name}: " + "; ".join(found)

    def violations(self) -> list[str]:
        """WCAG 2.2 AA by axe, once colours that change have changed (Django's admin fades its own)."""
        self.page.evaluate(END_TRANSITIONS)
        if self.page.evaluate("typeof axe === 'undefined'"):
            self.page.evaluate(Axe().axe_script)
        return [
            f"{one['id']}: {one['help']} ({', '.join(str(node['target']) for node in one['nodes'][:3])})"
            for one in self.page.evaluate(RUN_AXE, RULES)
        ]


def shots_folder(default: Path) -> Path:
    """Where screenshots go: PUPITRE_SHOTS, else the test's own folder."""
    folder = Path(os.environ.get("PUPITRE_SHOTS") or default)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
