"""A notebook site for Chromium: `parent.py` under uvicorn, the real `runtimes` process, real sandboxes."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.test import override_settings
from playwright.async_api import Browser, Frame, Locator, Page, async_playwright

from runtimes import storage
from runtimes.jupyter import tickets
from runtimes.models import GIB, Profile, Workspace
from tests.live import LiveSite
from tests.runtimes.jupyter.conftest import NOTEBOOK, notebook_bytes

CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP *.localhost 127.0.0.1",
]  # fmt: skip
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"


class Desk(LiveSite):
    """Ada's workspace `work` and Ben's, in a running site. Whoever is `let_in` may `open` one."""

    def start(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        self.doors: dict[str, dict[str, dict[str, str]]] = {}
        self._turn = threading.Lock()
        self._write_doors()
        self._processes = [
            self._process("runtimes", "manage.py", "runtimes"),
            self._process(
                "site", "-m", "uvicorn", "tests.runtimes.jupyter.parent:application", "--port", str(self.port),
                "--ws", "websockets-sansio", "--ws-per-message-deflate", "false", "--log-level", "warning",
            ),
        ]  # fmt: skip
        self.until(self._answers, "the site answers")

    def _process(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        (self.folder / "logs").mkdir(exist_ok=True)
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    def stop(self, how: Any = None) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()

    def restart_site(self) -> None:
        """`kill -9` of the process that serves, and another one."""
        self._processes[1].kill()
        self._processes[1].wait()
        command = self._processes[1].args[1:]
        self._processes[1] = self._process("site", *command)
        self.until(self._answers, "the site answers again")

    async def do[T](self, work: Callable[[], T]) -> T:
        """What `work` returns, done on this site's database and storage, off the event loop."""
        files = {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": self.folder / "work"},
        }

        def there() -> T:
            ours = {"STORAGES": {**settings.STORAGES, "work": files}, "RUN_DIR": self.folder / "run"}
            with self._turn, self.orm(), override_settings(**ours):
                return work()

        return await asyncio.to_thread(there)

    async def make_work(self, *sources: str, subject: str = "ada") -> Workspace:
        """A workspace with a notebook of those cells, for one person who may write."""

        def make() -> Workspace:
            profile, _made = Profile.objects.get_or_create(slug="desk", defaults={"name": "Desk", "home_bytes": GIB})
            workspace = Workspace.objects.create(profile=profile, account="a", title="ps1", quota_bytes=GIB)
            storage.write(workspace, NOTEBOOK, notebook_bytes(*sources))
            return workspace

        workspace = await self.do(make)
        self.let_in(subject, workspace)
        return workspace

    def let_in(self, subject: str, workspace: Workspace, mode: str = "write") -> None:
        self.doors.setdefault(subject, {})[workspace.slug] = {"mode": mode}
        self._write_doors()

    def _write_doors(self) -> None:
        (self.folder / "doors.json").write_text(json.dumps(self.doors))

    def shut_out(self, subject: str, workspace: Workspace) -> None:
        self.doors.get(subject, {}).pop(workspace.slug, None)
        self._write_doors()

    async def ticket(self, workspace: Workspace, subject: str, mode: str = "write") -> str:
        issue = functools.partial(tickets.issue, workspace=workspace, subject=subject, display_name=subject)
        return await self.do(lambda: issue(mode=mode))  # type: ignore[arg-type]

    async def open(self, page: Page, workspace: Workspace, subject: str = "ada", mode: str = "write") -> Frame:
        """The notebook in the frame of the parent page, once its cells are shown."""
        await page.goto(f"{self.url}/?slug={workspace.slug}")
        secret = await self.ticket(workspace, subject, mode)
        await page.evaluate(
            "([ticket, next]) => { form.ticket.value = ticket; form.next.value = next; form.submit() }",
            [secret, NOTEBOOK],
        )
        await page.wait_for_function("said.some(m => m.type === 'nb:ready')", timeout=60_000)
        return next(frame for frame in page.frames if "/notebooks/" in frame.url)


class Chromium:
    """`async with Chromium() as browser:`"""

    async def __aenter__(self) -> Browser:
        self._playwright = await async_playwright().start()
        # The system's, else the one that playwright installed.
        path = os.environ.get("CHROMIUM") or shutil.which("chromium")
        self.browser = await self._playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        return self.browser

    async def __aexit__(self, *_: object) -> None:
        await self.browser.close()
        await self._playwright.stop()


async def run_cell(page: Page, frame: Frame, index: int) -> None:
    """Shift-Enter in a cell."""
    await frame.locator(".jp-CodeCell .cm-content").nth(index).click()
    await page.keyboard.press("Shift+Enter")


async def said(page: Page, kind: str, **fields: Any) -> None:
    """Waits until the frame has told the parent page a message."""
    await page.wait_for_function(
        "([kind, fields]) => said.some(m => m.type === kind && Object.entries(fields).every(([k, v]) => m[k] === v))",
        arg=[kind, fields],
        timeout=60_000,
    )


def output(frame: Frame, index: int = 0) -> Locator:
    """The output of a code cell."""
    return frame.locator(".jp-CodeCell").nth(index).locator(".jp-Cell-outputArea")


async def type_in(page: Page, frame: Frame, index: int, text: str) -> None:
    """Types at the end of a cell."""
    await frame.locator(".jp-CodeCell .cm-content").nth(index).click()
    await page.keyboard.press("Control+End")
    # As a person does: the front end settles between keys.
    await page.keyboard.type(text, delay=40)


async def tell(page: Page, kind: str, **fields: Any) -> None:
    """The parent page's message to the frame."""
    await page.evaluate("(message) => tell(message)", {"type": kind, **fields})
