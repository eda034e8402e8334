"""A browser's socket to a real kernel."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from runtimes import bus
from runtimes.jupyter import bridge, frames, links
from runtimes.models import Kernel, Runtime, Workspace
from runtimes.steer import astart_kernel, astop_kernel
from tests.runtimes.jupyter.conftest import Doors, cookie_for, start_kernel_process
from tests.runtimes.jupyter.sockets import FrontEnd, Socket
from tests.runtimes.waiting import until


def channels(kernel: Kernel, client: str = "page1") -> str:
    return f"/api/kernels/{kernel.pk}/channels?session_id={client}"


@pytest.fixture
def at_kernel(application: Any, work: Workspace, kernel: Kernel, kernel_process: Any):
    """Ada's socket to her kernel."""
    return lambda client="page1": Socket(application, work, channels(kernel, client), cookie_for(work, "ada"))


async def test_code_runs_and_its_output_comes_back(at_kernel) -> None:
    async with at_kernel() as socket:
        page = FrontEnd(socket, "page1")
        reply, text = await page.run("print(6 * 7)")
    assert (reply["status"], text) == ("ok", "42\n")


async def test_the_kernels_greeting_stays_out_of_the_browser(at_kernel) -> None:
    async with at_kernel() as socket:
        page = FrontEnd(socket, "page1")
        await page.run("pass")
    assert "iopub_welcome" not in {header["msg_type"] for _channel, header, _parent, _content in page.seen}


async def test_a_greeting_that_comes_late_brings_the_page_up_to_date(
    at_kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "WELCOME_SECONDS", 0)
    async with at_kernel() as socket:
        # The page asks for nothing: what it was not told before the greeting would never be said again.
        await FrontEnd(socket, "page1").until("status", execution_state="idle")


async def test_what_is_asked_before_the_kernel_is_there_waits_until_it_is_heard(
    at_kernel, kernel: Kernel, process_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    send = links.Links.send

    async def noted(self: links.Links, channel: str, parts: list[bytes]) -> None:
        asked.append(channel)
        await send(self, channel, parts)

    monkeypatch.setattr(bridge, "WELCOME_SECONDS", 0)
    monkeypatch.setattr(links.Links, "send", noted)
    process_of(kernel).end()
    async with at_kernel() as socket:
        page = FrontEnd(socket, "page1")
        message_id = page.execute("6 * 7")
        await asyncio.sleep(1)
        assert not asked
        process_of(kernel).renew()
        await page.until("execute_result", message_id)
        await page.until("status", message_id, execution_state="idle")


async def test_input_is_asked_for_and_answered(at_kernel) -> None:
    async with at_kernel() as socket:
        page = FrontEnd(socket, "page1")
        message_id = page.execute("print('hello', input('who? '))")
        asked = await page.until("input_request", message_id)
        page.request("input_reply", {"value": "ada", "status": "ok"}, "stdin")
        shown = await page.until("stream", message_id)
    assert asked["prompt"] == "who? "
    assert shown["text"] == "hello ada\n"


async def test_completion_answers(at_kernel) -> None:
    async with at_kernel() as socket:
        page = FrontEnd(socket, "page1")
        page.request("complete_request", {"code": "impor", "cursor_pos": 5})
        assert "import" in (await page.until("complete_reply"))["matches"]


async def test_code_that_a_page_sends_is_work_in_the_runtime_and_completion_is_not(at_kernel, kernel: Kernel) -> None:
    slowed = Runtime.objects.filter(pk=kernel.runtime_id)
    await slowed.aupdate(load_since=timezone.now(), slowed=True)
    async with at_kernel() as socket:
        page = FrontEnd(socket, "page1")
        page.request("complete_request", {"code": "impor", "cursor_pos": 5})
        await page.until("complete_reply")
        assert await slowed.filter(slowed=True).aexists()
        await page.run("pass")
        await until(lambda: slowed.filter(slowed=False, load_since=None, executed_at__isnull=False).exists())


async def test_output_of_another_pages_run_is_left_to_the_document(at_kernel) -> None:
    async with at_kernel("page1") as mine, at_kernel("page2") as theirs:
        first, second = FrontEnd(mine, "page1"), FrontEnd(theirs, "page2")
        await second.run("pass")
        await first.run("print('only for page 1')")
        await second.run("pass")
    kinds = [header["msg_type"] for _channel, header, _parent, _content in second.seen]
    assert "stream" not in kinds
    assert kinds.count("status") >= 6, "the other page still sees that the kernel is busy"


async def test_a_kernel_that_starts_is_waited_for(at_kernel, work: Workspace, kernel: Kernel) -> None:
    await Kernel.objects.filter(pk=kernel.pk).aupdate(state=Kernel.State.STARTING)
    async with at_kernel() as socket:
        page = FrontEnd(socket, "page1")
        message_id = page.execute("print('patience')")
        await page.until("status", execution_state="starting")
        await Kernel.objects.filter(pk=kernel.pk).aupdate(state=Kernel.State.RUNNING)
        await bus.publish(f"runtime:{kernel.runtime.name}")
        assert (await page.until("stream", message_id))["text"] == "patience\n"


async def test_a_page_at_a_process_that_lacks_the_kernels_key_waits_and_is_told_so_where_it_asks(
    at_kernel, ada_browser: Any, kernel: Kernel
) -> None:
    newer = settings.MASTER_KEY_VERSION + 1
    await Runtime.objects.aupdate(endpoint=kernel.runtime.endpoint | {"key_version": newer})
    async with at_kernel() as socket:
        page = FrontEnd(socket, "page1")
        message_id = page.execute("print('new key')")
        await page.until("status", execution_state="starting")
        asked = await ada_browser.post(f"/api/kernels/{kernel.pk}/interrupt")
        assert (asked.status_code, "Try again in a moment" in asked.text) == (503, True)
        # What its row says is done by the process that knows the key: asked twice, it would be two kernels.
        made = await astart_kernel(kernel.runtime)
        await astop_kernel(made)
        assert (await Kernel.objects.aget(pk=made.pk)).state in (Kernel.State.STOPPING, Kernel.State.DEAD)
        # As the process that comes after it finds things.
        await Runtime.objects.aupdate(endpoint=kernel.runtime.endpoint)
        assert (await page.until("stream", message_id))["text"] == "new key\n"


async def test_a_slow_browser_loses_output_but_never_the_end_of_a_run(
    at_kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.jupyter.outbox.BUDGET_BYTES", 200_000)
    async with at_kernel("page1") as socket, at_kernel("page2") as witness:
        page = FrontEnd(socket, "page1")
        await page.run("pass")
        socket.slow.clear()
        message_id = page.execute("for i in range(100): print('x' * 50_000, flush=True)")
        await FrontEnd(witness, "page2").until("status", message_id, execution_state="idle")
        socket.slow.set()
        await page.until("status", message_id, execution_state="idle")
        # What it is told comes once nothing waits: before the end, where its own socket is behind the witness's.
        told = [content["text"] for _channel, _header, _parent, content in page.seen if content.get("name") == "stderr"]
        told = told or [(await page.until("stream", message_id, name="stderr"))["text"]]
    assert "could not keep up" in told[0]


async def test_the_socket_closes_when_access_ends(at_kernel, work: Workspace, doors: Doors) -> None:
    async with at_kernel() as socket:
        await FrontEnd(socket, "page1").run("pass")
        doors.shut_out("ada", work)
        await bus.publish(f"access:{work.slug}")
        assert await socket.ended() == 4401


async def test_a_reader_gets_no_kernel_socket(application: Any, work: Workspace, kernel: Kernel) -> None:
    async with Socket(application, work, channels(kernel), cookie_for(work, "tim", "read")) as socket:
        assert not socket.accepted
        assert socket.closed == 4403


async def test_a_stranger_gets_no_kernel_socket(
    application: Any, work: Workspace, other_work: Workspace, kernel: Kernel
) -> None:
    for place, cookie in ((work, ""), (work, cookie_for(other_work, "ben")), (other_work, cookie_for(work, "ada"))):
        async with Socket(application, place, channels(kernel), cookie) as socket:
            assert not socket.accepted
    async with Socket(application, other_work, channels(kernel), cookie_for(other_work, "ben")) as socket:
        assert socket.closed == 4404, "Ada's kernel is not in Ben's workspace"


async def test_a_foreign_page_gets_no_socket(application: Any, work: Workspace, kernel: Kernel) -> None:
    cookie = cookie_for(work, "ada")
    for origin in ("https://evil.example", "null", "http://127.0.0.1:8000"):
        async with Socket(application, work, channels(kernel), cookie, origin=origin) as socket:
            assert not socket.accepted


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"\xff" * 64, (2**62).to_bytes(8, "little") * 20, frames.pack([b"{}"] * 4, "iopub")],
    ids=["empty", "short", "all ones", "a count that never ends", "a channel that is not a page's"],
)
async def test_what_is_no_message_ends_the_socket(at_kernel, data: bytes) -> None:
    async with at_kernel() as socket:
        socket.send(data)
        assert await socket.ended() == 1007


async def test_a_restart_by_someone_else_is_no_crash(at_kernel, kernel: Kernel, run_dir: Path, process_of: Any) -> None:
    async with at_kernel() as socket:
        page = FrontEnd(socket, "page1")
        await page.run("x = 1")
        await Kernel.objects.filter(pk=kernel.pk).aupdate(state=Kernel.State.RESTARTING, restarts=1)
        process_of(kernel).renew()
        await Kernel.objects.filter(pk=kernel.pk).aupdate(state=Kernel.State.RUNNING)
        await bus.publish(f"runtime:{kernel.runtime.name}")
        # It was not this page that asked for it, so this is how it learns of it.
        await page.until("status", execution_state="idle")
        reply, _text = await page.run("x")
    states = [content["execution_state"] for _c, header, _p, content in page.seen if header["msg_type"] == "status"]
    assert reply["ename"] == "NameError"
    assert "restarting" not in states


async def test_the_end_of_a_runtime_is_told_and_the_socket_closed(at_kernel, kernel: Kernel, process_of: Any) -> None:
    async with at_kernel() as socket:
        page = FrontEnd(socket, "page1")
        await page.run("pass")
        await Runtime.objects.aupdate(state=Runtime.State.STOPPED, reason="Idle")
        await Kernel.objects.aupdate(state=Kernel.State.DEAD, reason="Idle")
        process_of(kernel).end()
        told = await page.until("status", execution_state="dead")
        assert await socket.ended() == 1000
    assert "nothing ran for a while" in told["reason"]


class Process:
    """The kernel's process in this test's hands."""

    def __init__(self, kernel: Kernel, folder: Path, first: subprocess.Popen[bytes]) -> None:
        self._kernel, self._folder, self._process = kernel, folder, first

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def renew(self) -> None:
        self.end()
        self._process = start_kernel_process(self._kernel.runtime, self._kernel, self._folder)


@pytest.fixture
def process_of(kernel: Kernel, kernel_process: subprocess.Popen[bytes], run_dir: Path):
    process = Process(kernel, run_dir / "rt", kernel_process)
    yield lambda _kernel: process
    process.end()
