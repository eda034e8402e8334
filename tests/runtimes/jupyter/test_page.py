"""The stock Notebook 7 page in a frame, in Chromium, with real sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import nbformat
import pytest
from playwright.async_api import Browser, Page, expect

from runtimes import bus, launch, storage
from runtimes.models import Workspace
from tests.runtimes.jupyter.conftest import NOTEBOOK
from tests.runtimes.jupyter.desk import Chromium, Desk, output, run_cell, said, tell, type_in

# Two processors, a browser and a dozen processes: the patience is long, what is waited for is exact.
expect.set_options(timeout=60_000)
pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def desk(django_db_blocker) -> Iterator[Desk]:
    with Desk(django_db_blocker) as desk:
        yield desk


@pytest.fixture(autouse=True)
def _threads_let_go() -> None:
    """These tests use the site's own database, not the test's."""


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with Chromium() as browser:
        yield browser


@pytest.fixture
async def page(chromium: Browser) -> Page:
    return await chromium.new_page(viewport={"width": 1200, "height": 900})


async def test_a_cell_runs_and_its_output_is_in_the_file(desk: Desk, page: Page) -> None:
    work = await desk.make_work("print('hello', 6 * 7)")
    frame = await desk.open(page, work)
    await run_cell(page, frame, 0)
    await expect(output(frame)).to_contain_text("hello 42")
    await said(page, "nb:kernel", status="idle")
    await tell(page, "nb:flush")
    await said(page, "nb:done", of="nb:flush")
    assert "hello 42" in await _file(desk, work)


async def _file(desk: Desk, work: Workspace) -> str:
    def read() -> str:
        return storage.read(work.files.get(path=NOTEBOOK).blob_id).decode()

    text = await desk.do(read)
    nbformat.validate(nbformat.reads(text, as_version=4))
    return text


async def test_the_bar_interrupts_restarts_and_hears_of_a_crash(desk: Desk, page: Page) -> None:
    work = await desk.make_work(
        "import time, os\nfor second in range(60):\n    print('tick', second, flush=True)\n    time.sleep(1)",
        "print('os' in dir())",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    )
    frame = await desk.open(page, work)
    await run_cell(page, frame, 0)
    await expect(output(frame)).to_contain_text("tick 1")
    await tell(page, "nb:interrupt")
    await expect(output(frame)).to_contain_text("KeyboardInterrupt")
    await tell(page, "nb:restart")
    await said(page, "nb:done", of="nb:restart")
    await run_cell(page, frame, 1)
    await expect(output(frame, 1)).to_contain_text("False")
    # A kernel that dies within its first second is not started again.
    await page.wait_for_timeout(1100)
    await run_cell(page, frame, 2)
    await expect(frame.locator(".jp-Dialog")).to_contain_text("restart automatically")
    await page.wait_for_function("said.some(m => m.type === 'nb:kernel' && m.reason)")
    await frame.locator(".jp-Dialog .jp-mod-accept").click()
    await run_cell(page, frame, 1)
    await expect(output(frame, 1)).to_contain_text("False")


async def test_input_asks_in_the_page(desk: Desk, page: Page) -> None:
    frame = await desk.open(page, await desk.make_work("print('hello', input('who? '))"))
    await run_cell(page, frame, 0)
    await frame.locator(".jp-Stdin-input").wait_for()
    await page.keyboard.type("ada")
    await page.keyboard.press("Enter")
    await expect(output(frame)).to_contain_text("hello ada")


async def test_plots_and_widgets_show_and_answer(desk: Desk, page: Page) -> None:
    work = await desk.make_work(
        "import matplotlib.pyplot as plt\n_ = plt.plot([1, 3, 2])",
        "from ipywidgets import IntSlider\nslider = IntSlider(7, 0, 100)\nslider",
        "print('slider is', slider.value)",
    )
    frame = await desk.open(page, work)
    await run_cell(page, frame, 0)
    await frame.locator('.jp-OutputArea-output img[src^="data:image/png"]').wait_for(timeout=60_000)
    await run_cell(page, frame, 1)
    bar = await frame.locator(".noUi-target").first.bounding_box()
    assert bar is not None
    await page.mouse.click(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2)
    readout = frame.locator(".widget-readout").first
    await expect(readout).not_to_have_text("7")
    await run_cell(page, frame, 2)
    await expect(output(frame, 2)).to_contain_text(f"slider is {await readout.inner_text()}")


async def test_completion_and_typing_are_told_as_dirty_and_saved(desk: Desk, page: Page) -> None:
    work = await desk.make_work("1", "")
    frame = await desk.open(page, work)
    await run_cell(page, frame, 0)
    await said(page, "nb:kernel", status="idle")
    await said(page, "nb:saved")
    await page.evaluate("said.length = 0")
    await type_in(page, frame, 1, "impor")
    await page.keyboard.press("Tab")
    one_match = frame.locator('.jp-CodeCell .cm-content:text-is("import")')
    await expect(frame.locator(".jp-Completer-item").first.or_(one_match)).to_be_visible()
    await said(page, "nb:dirty")
    await said(page, "nb:saved")
    assert '"impor' in await _file(desk, work)


async def test_the_keyboard_gets_out_of_the_frame(desk: Desk, page: Page) -> None:
    frame = await desk.open(page, await desk.make_work("x = 1"))
    await frame.locator(".jp-CodeCell .cm-content").first.click()
    await page.keyboard.press("F6")
    await said(page, "nb:focus-out", direction="back")
    assert await page.evaluate("document.activeElement.id") == "bar"


async def test_close_the_page_during_a_run_and_the_output_is_there_when_it_opens_again(
    desk: Desk, chromium: Browser
) -> None:
    work = await desk.make_work("import time\nfor n in range(4):\n    time.sleep(0.5); print('step', n, flush=True)")
    page = await chromium.new_page()
    frame = await desk.open(page, work)
    await run_cell(page, frame, 0)
    await expect(output(frame)).to_contain_text("step 0")
    await page.close()
    again = await chromium.new_page()
    frame = await desk.open(again, work)
    await expect(output(frame)).to_contain_text("step 3")


async def test_a_restart_of_the_site_loses_neither_edits_nor_kernel(desk: Desk, page: Page) -> None:
    work = await desk.make_work("x = 41", "print(x + 1)", "")
    frame = await desk.open(page, work)
    await run_cell(page, frame, 0)
    await said(page, "nb:saved")
    await asyncio.to_thread(desk.restart_site)
    await type_in(page, frame, 2, "# typed meanwhile")
    await page.evaluate("said.length = 0")
    await said(page, "nb:saved")
    assert "# typed meanwhile" in await _file(desk, work)
    await run_cell(page, frame, 1)
    await expect(output(frame, 1)).to_contain_text("42")


async def test_after_the_runtime_was_stopped_run_starts_another(desk: Desk, page: Page) -> None:
    work = await desk.make_work("print('runs')")
    frame = await desk.open(page, work)
    await run_cell(page, frame, 0)
    await expect(output(frame)).to_contain_text("runs")
    await desk.do(lambda: launch.stop(work.runtimes.get(), reason="Idle"))
    await said(page, "nb:kernel", status="none")
    await page.evaluate("said.length = 0")
    await run_cell(page, frame, 0)
    await said(page, "nb:kernel", status="idle")


async def test_two_pages_of_one_notebook_share_its_kernel_and_name_who_types(desk: Desk, chromium: Browser) -> None:
    work = await desk.make_work("x = 1", "print('x is', x)")
    first, second = await chromium.new_page(), await chromium.new_page()
    frames = await asyncio.gather(desk.open(first, work), desk.open(second, work))
    await run_cell(first, frames[0], 0)
    await said(first, "nb:kernel", status="idle")
    await said(second, "nb:kernel", status="idle")
    await run_cell(second, frames[1], 1)
    await expect(output(frames[0], 1)).to_contain_text("x is 1")
    assert await desk.do(lambda: work.kernels.exclude(state="dead").count()) == 1
    await frames[0].locator(".jp-CodeCell .cm-content").first.click()
    await first.keyboard.press("End")
    await expect(frames[1].locator(".jp-remote-userFlag-name").first).to_have_text("Ada")


async def test_a_reader_sees_the_work_and_can_change_nothing(desk: Desk, page: Page) -> None:
    work = await desk.make_work("print('of ada')")
    desk.let_in("tim", work, "read")
    frame = await desk.open(page, work, "tim", "read")
    cell = frame.locator(".jp-CodeCell .cm-content").first
    await cell.click()
    await page.keyboard.type("mine now")
    await expect(cell).to_have_text("print('of ada')")
    assert "mine now" not in await _file(desk, work)
    assert not await desk.do(work.kernels.exists), "reading starts nothing"


async def test_someone_who_is_shut_out_is_told(desk: Desk, page: Page) -> None:
    work = await desk.make_work("1")
    await desk.open(page, work)
    desk.shut_out("ada", work)
    # The page may ask whether to leave.
    page.on("dialog", lambda dialog: dialog.accept())
    await desk.do(lambda: bus.publish_sync(f"access:{work.slug}"))
    shown = page.frame_locator("#frame").locator("main")
    await expect(shown).to_contain_text("Open the notebook again from its course page")
