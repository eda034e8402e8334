"""The stock page in Chromium, on real sandboxes: shared editing and server-side execution as people meet them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import nbformat
import pytest
from playwright.async_api import Browser, Frame, Page, Route

from runtimes import storage
from runtimes.models import Run, Workspace, WorkspaceFile
from tests.runtimes.jupyter.conftest import NOTEBOOK
from tests.runtimes.jupyter.desk import Chromium, Desk, run_cell, said

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.live, pytest.mark.timeout(600)]

PATIENCE_MS = 60_000
_CELL = "window.jupyterapp.shell.currentWidget.content.widgets[cell].model"


@pytest.fixture(scope="module")
def desk(django_db_blocker) -> Iterator[Desk]:
    with Desk(django_db_blocker) as running:
        yield running


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with Chromium() as browser:
        yield browser


# The site was asked, and did it; its answer never came.
LOSES_AN_ANSWER = """
const asks = window.fetch;
window.answersLost = 0;
window.fetch = async (...given) => {
  const answer = await asks.call(window, ...given);
  if (!answer.url.includes("/execute") || window.answersLost) return answer;
  window.answersLost += 1;
  throw new TypeError("lost");
};
"""


class Tab:
    """A notebook page of one person, in a browser of their own."""

    def __init__(self, page: Page, frame: Frame) -> None:
        self.page, self.frame = page, frame

    @classmethod
    async def open(
        cls, desk: Desk, browser: Browser, work: Workspace, subject: str = "ada", *, idle: bool = True,
        before: Callable[[Page], Awaitable[object]] | None = None,
    ) -> Tab:  # fmt: skip
        """idle: waits for the kernel; before: what is done to the page before anything is opened in it."""
        page = await (await browser.new_context(viewport={"width": 1300, "height": 1000})).new_page()
        if before:
            await before(page)
        tab = cls(page, await desk.open(page, work, subject))
        if idle:
            await said(page, "nb:kernel", status="idle")
        return tab

    async def close(self) -> None:
        await self.page.context.close()

    async def type(self, cell: int, text: str) -> None:
        """At the end of a cell."""
        await self.frame.locator(".jp-CodeCell .cm-content").nth(cell).click()
        await self.page.keyboard.press("Control+End")
        await self.page.keyboard.type(text)

    async def run(self, cell: int) -> None:
        await run_cell(self.page, self.frame, cell)

    async def run_all(self) -> None:
        await self.page.evaluate("tell({type: 'nb:run-all', id: 1})")
        await said(self.page, "nb:done", id=1)

    async def interrupt(self) -> None:
        await self.page.evaluate("tell({type: 'nb:interrupt', id: 2})")

    async def sees_text(self, text: str) -> None:
        """In the source of a cell."""
        await self.frame.wait_for_function(
            "text => [...document.querySelectorAll('.cm-content')].some(one => one.textContent.includes(text))",
            arg=text, timeout=PATIENCE_MS,
        )  # fmt: skip

    async def sees_output(self, cell: int, text: str) -> None:
        """Asks the page's model: cells out of sight have no elements."""
        await self.frame.wait_for_function(
            f"([cell, text]) => JSON.stringify({_CELL}.outputs.toJSON()).includes(text)",
            arg=[cell, text], timeout=PATIENCE_MS,
        )  # fmt: skip

    async def output(self, cell: int) -> str:
        return str(await self.frame.evaluate(f"([cell]) => JSON.stringify({_CELL}.outputs.toJSON())", [cell]))

    async def shows(self, cell: int, text: str) -> None:
        """In the outputs of a cell, as people see them."""
        await self.frame.wait_for_function(
            "([cell, text]) => document.querySelectorAll('.jp-CodeCell')[cell]"
            ".querySelector('.jp-OutputArea')?.textContent.includes(text)",
            arg=[cell, text], timeout=PATIENCE_MS,
        )  # fmt: skip

    async def is_idle(self, cell: int, count: int | None) -> None:
        """Not (any more) running, with this count beside it."""
        await self.frame.wait_for_function(
            f"([cell, count]) => {_CELL}.executionState !== 'running' && {_CELL}.executionCount === count",
            arg=[cell, count], timeout=PATIENCE_MS,
        )  # fmt: skip

    async def is_waiting(self, cell: int) -> None:
        await self.frame.wait_for_function(
            f"([cell]) => {_CELL}.executionState === 'running'", arg=[cell], timeout=PATIENCE_MS
        )

    async def source(self, cell: int) -> str:
        return await self.frame.locator(".jp-CodeCell .cm-content").nth(cell).inner_text()


async def file_of(desk: Desk, work: Workspace, path: str = NOTEBOOK) -> bytes:
    """The file in storage; empty while there is none."""

    def read() -> bytes:
        row = WorkspaceFile.objects.filter(workspace=work, path=path).first()
        return storage.read(row.blob_id) if row else b""

    return await desk.do(read)


async def until(check: Callable[[], Awaitable[object]]) -> object:
    async with asyncio.timeout(60):
        while not (found := await check()):
            await asyncio.sleep(0.05)
    return found


async def holds(desk: Desk, work: Workspace, text: bytes) -> bool:
    """True if the saved notebook holds the text."""
    return text in await file_of(desk, work)


async def test_two_people_write_in_one_notebook_and_see_its_outputs(desk, chromium):
    work = await desk.make_work("x = 6 * 7", "print('hello', x)", "y = 1")
    desk.let_in("ben", work)
    ada, ben = await Tab.open(desk, chromium, work), await Tab.open(desk, chromium, work, "ben")
    await ada.type(0, "  # from ada")
    await ben.sees_text("# from ada")
    await ben.type(0, "  # from ben")
    await ada.sees_text("# from ben")
    await ada.run(0)
    await ada.run(1)
    await ben.sees_output(1, "hello 42")
    await ada.frame.locator(".jp-CodeCell .cm-content").nth(2).click()
    await ben.frame.locator(".jp-CodeCell .cm-content").nth(2).click()
    await asyncio.gather(ada.page.keyboard.type("a" * 40, delay=15), ben.page.keyboard.type("b" * 40, delay=15))
    for each in (ada, ben):
        await each.frame.wait_for_function(
            "() => { const text = document.querySelectorAll('.jp-CodeCell .cm-content')[2].textContent;"
            " return text.split('a').length === 41 && text.split('b').length === 41 }"
        )
    assert await ada.source(2) == await ben.source(2)
    assert await ada.source(0) == "x = 6 * 7  # from ada  # from ben"


async def test_the_output_is_there_for_who_closes_the_tab_and_comes_back(desk, chromium):
    work = await desk.make_work("import time\nfor i in range(60):\n    print('tick', i, flush=True); time.sleep(0.1)")
    ada = await Tab.open(desk, chromium, work)
    await ada.run(0)
    await ada.sees_output(0, "tick 3")
    await ada.close()
    back = await Tab.open(desk, chromium, work, idle=False)
    await back.sees_output(0, "tick 59")
    await back.is_idle(0, 1)
    ticks = (await back.output(0)).count("tick")
    assert ticks == 60


async def test_run_all_of_thirty_sleeping_cells_then_interrupt(desk, chromium):
    work = await desk.make_work("print('on', flush=True)", *["import time; time.sleep(60)"] * 29, "print('never')")
    ada = await Tab.open(desk, chromium, work)
    await ada.run_all()
    await ada.sees_output(0, "on")
    await ada.is_waiting(30)

    await until(lambda: desk.do(lambda: Run.objects.filter(kernel__workspace=work).count() == 31))
    await ada.interrupt()
    await ada.sees_output(1, "KeyboardInterrupt")
    for cell in (2, 29, 30):
        await ada.is_idle(cell, None)
    assert await ada.output(30) == "[]"
    await ada.run(0)
    await ada.is_idle(0, 3)


@pytest.mark.parametrize("there", [True, False], ids=["the kernel is found", "the page asks for one"])
async def test_run_all_before_there_is_a_kernel_runs_every_cell_in_order(desk, chromium, there):
    work = await desk.make_work("seen = [0]", *[f"seen.append({at}); print('seen', seen)" for at in range(1, 6)])
    pressed, asked = asyncio.Event(), []

    async def slow(route: Route) -> None:
        method = route.request.method
        asked.append(method)
        # The front end itself starts once it has heard which sessions there are.
        if method == "POST" or (there and len(asked) > 1):
            await pressed.wait()
        if method == "POST" or there:
            await route.continue_()
        else:
            await route.fulfill(json=[])

    ada = await Tab.open(desk, chromium, work, idle=False, before=lambda page: page.route("**/api/sessions*", slow))
    await ada.run_all()
    pressed.set()
    await ada.is_idle(0, 1)
    for at in range(1, 6):
        await ada.sees_output(at, f"seen {list(range(at + 1))}")
        await ada.is_idle(at, at + 1)
    assert await desk.do(lambda: Run.objects.filter(kernel__workspace=work).count()) == 6


async def test_input_is_typed_in_the_page_also_in_one_that_was_opened_later(desk, chromium):
    work = await desk.make_work(
        "name = input('Who? ')", "print('Hello', name)", "import getpass; s = getpass.getpass('Key')"
    )
    ada = await Tab.open(desk, chromium, work)
    await ada.run(0)
    await ada.frame.wait_for_selector(".jp-Stdin-input", timeout=PATIENCE_MS)
    await ada.close()
    back = await Tab.open(desk, chromium, work, idle=False)
    await back.frame.wait_for_selector(".jp-Stdin-input", timeout=PATIENCE_MS)
    await back.frame.locator(".jp-Stdin-input").fill("Ada")
    await back.page.keyboard.press("Enter")
    await back.is_idle(0, 1)
    await back.shows(0, "Who?  Ada")
    await back.run(1)
    await back.sees_output(1, "Hello Ada")
    await back.run(2)
    await back.frame.wait_for_selector(".jp-Stdin-input[type=password]", timeout=PATIENCE_MS)
    await back.page.keyboard.type("hunter2")
    await back.page.keyboard.press("Enter")
    await back.is_idle(2, 3)
    await until(lambda: holds(desk, work, b"Hello Ada"))
    assert not await holds(desk, work, b"hunter2")


@pytest.mark.kill
async def test_a_site_that_is_killed_in_the_middle_of_a_run_loses_nothing(desk, chromium):
    work = await desk.make_work(
        "import time\nfor i in range(80):\n    print('tick', i, flush=True); time.sleep(0.1)", "1"
    )
    ada = await Tab.open(desk, chromium, work)
    await ada.run(0)
    await ada.sees_output(0, "tick 2")
    desk._processes[1].kill()
    try:
        await ada.type(1, " + 1  # offline")
        # Asked for while nobody listens: run when somebody does again, as it was typed.
        await ada.run(1)
    finally:
        desk.restart_site()
    await ada.sees_output(0, "tick 79")
    assert (await ada.output(0)).count("tick") == 80
    await until(lambda: holds(desk, work, b"# offline"))
    await ada.sees_output(1, "2")
    assert await ada.frame.locator(".jp-Dialog").count() == 0


async def test_a_cell_whose_request_was_answered_in_vain_runs_once(desk, chromium):
    work = await desk.make_work("print('ran')", "print('then')")
    ada = await Tab.open(desk, chromium, work, before=lambda page: page.add_init_script(LOSES_AN_ANSWER))
    await ada.run(0)
    await ada.run(1)
    await ada.is_idle(1, 2)
    assert await ada.frame.evaluate("answersLost") == 1
    assert await desk.do(lambda: Run.objects.filter(kernel__workspace=work).count()) == 2


async def test_what_waits_for_the_connection_is_forgotten_by_an_interrupt(desk, chromium):
    work = await desk.make_work("print('never')", "print('then')")
    tried, back = asyncio.Event(), asyncio.Event()

    async def refused(route: Route) -> None:
        if back.is_set():
            await route.continue_()
        else:
            await route.fulfill(status=502, body="<h1>Bad gateway</h1>", content_type="text/html")
            tried.set()

    ada = await Tab.open(desk, chromium, work, before=lambda page: page.route("**/execute*", refused))
    await ada.run(0)
    await tried.wait()
    await ada.interrupt()
    back.set()
    await ada.run(1)
    await ada.is_idle(1, 1)
    assert await ada.output(0) == "[]"


async def test_widgets_interact_and_files_that_code_writes(desk, chromium):
    work = await desk.make_work(
        "import ipywidgets as w\ns = w.IntSlider(value=3); s",
        "from ipywidgets import interact\n@interact(n=(1, 9))\ndef f(n=4):\n    print('n is', n)",
        "open('made.txt', 'w').write('by code')",
    )
    ada = await Tab.open(desk, chromium, work)
    await ada.run(0)
    await ada.frame.wait_for_selector(".jp-CodeCell >> nth=0 >> .widget-slider", timeout=PATIENCE_MS)
    await ada.run(1)
    await ada.shows(1, "n is 4")
    number = ada.frame.locator(".jp-CodeCell").nth(1).locator(".widget-readout")
    await number.click()
    await ada.page.keyboard.press("Control+a")
    await ada.page.keyboard.type("5")
    await ada.page.keyboard.press("Enter")
    await ada.shows(1, "n is 5")
    assert "n is" not in await ada.output(1), "it belongs to the widget, not to the cell"
    await ada.run(2)
    await until(lambda: file_of(desk, work, "ps1/made.txt"))


async def test_what_is_saved_is_a_valid_notebook(desk, chromium):
    work = await desk.make_work("import matplotlib.pyplot as plt\nplt.plot([1, 2]);", "1 / 0")
    ada = await Tab.open(desk, chromium, work)
    await ada.run(0)
    await ada.frame.wait_for_selector(".jp-OutputArea-output img", timeout=PATIENCE_MS)
    await ada.run(1)
    await ada.sees_output(1, "ZeroDivisionError")

    await until(lambda: holds(desk, work, b"ZeroDivisionError"))
    notebook = nbformat.reads((await file_of(desk, work)).decode(), nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert "image/png" in notebook.cells[0].outputs[0].data
