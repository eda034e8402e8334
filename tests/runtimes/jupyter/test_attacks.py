"""Scripts in a notebook's output reach nothing but their own workspace: in Chromium, framed as on the site."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, BrowserContext, expect

from runtimes.jupyter import hosts
from tests.runtimes.jupyter.attacks import ATTACKS, leaks
from tests.runtimes.jupyter.desk import Chromium, Desk, output, run_cell

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.timeout(600)]
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def desk(django_db_blocker) -> Iterator[Desk]:
    with Desk(django_db_blocker) as desk:
        yield desk


@pytest.fixture(autouse=True)
def _threads_let_go() -> None:
    """These tests use the site's own database, not the test's."""


@pytest.fixture
async def context() -> AsyncIterator[BrowserContext]:
    browser: Browser
    async with Chromium() as browser:
        yield await browser.new_context()


async def test_output_reaches_neither_site_nor_other_workspaces(desk: Desk, context: BrowserContext) -> None:
    mine, other = await desk.make_work("1"), await desk.make_work("2")
    victim = await context.new_page()
    frame = await desk.open(victim, mine)
    # The same person has the other workspace open, too: its cookie is in the browser.
    await desk.open(await context.new_page(), other)
    before = victim.url
    got: dict[str, str] = await frame.evaluate(ATTACKS, [desk.url, _origin(desk, other.slug), "/"])
    assert not leaks(got)
    assert victim.url == before
    assert frame.url.startswith(_origin(desk, mine.slug)), "the form went nowhere"


def _origin(desk: Desk, slug: str) -> str:
    return f"http://{slug}.localhost:{desk.port}"


async def test_the_frames_own_page_is_all_that_a_script_has(desk: Desk, context: BrowserContext) -> None:
    work = await desk.make_work("1")
    page = await context.new_page()
    frame = await desk.open(page, work)
    name = await frame.evaluate("fetch('/api/me').then(a => a.json()).then(a => a.identity.username)")
    assert name == "ada"
    assert await frame.evaluate("fetch('/lab/api/settings').then(a => a.status)") == 200


async def test_a_script_in_a_students_output_does_not_run_for_a_reader(desk: Desk, context: BrowserContext) -> None:
    page_text = "<b>shown</b><script>window.PWNED = 1</script><img src=x onerror='window.PWNED = 1'>"
    code = f"from IPython.display import HTML\nHTML({page_text!r})"
    work = await desk.make_work(code)
    desk.let_in("tim", work, "read")
    student = await context.new_page()
    frame = await desk.open(student, work)
    await run_cell(student, frame, 0)
    await expect(output(frame)).to_contain_text("shown")
    await student.close()
    reader = await context.browser.new_context() if context.browser else context
    page = await reader.new_page()
    frame = await desk.open(page, work, "tim", "read")
    await expect(output(frame)).to_contain_text("shown")
    assert await frame.evaluate("typeof window.PWNED") == "undefined"


async def test_a_foreign_page_reaches_no_workspace(desk: Desk, context: BrowserContext) -> None:
    work = await desk.make_work("1")
    await desk.open(await context.new_page(), work)
    foreign = await context.new_page()
    await foreign.goto(f"http://static.localhost:{desk.port}/favicons/favicons/favicon.ico")
    origin = _origin(desk, work.slug)
    asked = "fetch(url + '/api/me', {credentials: 'include'}).then(a => a.status, () => 'BLOCKED')"
    assert await foreign.evaluate(f"(url) => {asked}", origin) == "BLOCKED"
    socket = """(url) => new Promise((done) => {
      const opened = new WebSocket(url.replace("http", "ws") + "/api/events/subscribe");
      opened.onopen = () => done("OPEN"); opened.onerror = () => done("BLOCKED");
    })"""
    assert await foreign.evaluate(socket, origin) == "BLOCKED"


async def test_only_the_site_may_frame_a_notebook(desk: Desk, context: BrowserContext) -> None:
    work = await desk.make_work("1")
    page = await context.new_page()
    frame = await desk.open(page, work)
    policy = await frame.evaluate("fetch(location.href).then(a => a.headers.get('content-security-policy'))")
    assert f"frame-ancestors {desk.url}" in policy
    assert "object-src 'none'" in policy


async def test_a_file_of_the_workspace_opened_as_a_page_runs_nothing(desk: Desk, context: BrowserContext) -> None:
    work = await desk.make_work("open('x.html', 'w').write('<script>document.title = \"ran\"</script><p>here</p>')")
    page = await context.new_page()
    frame = await desk.open(page, work)
    await run_cell(page, frame, 0)
    await frame.wait_for_function("fetch('/files/x.html').then(answer => answer.ok)")
    await frame.goto(f"{_origin(desk, work.slug)}/files/x.html")
    shown = page.frame(name="notebook")
    assert shown is not None
    assert await shown.title() != "ran"


def test_the_cookie_is_for_one_host() -> None:
    assert hosts.slug("wabc.localhost:8000.evil.example") is None
    assert hosts.slug("localhost:8000") is None
