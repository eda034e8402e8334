"""Runtimes for one job: borrowed, used and gone; and stock nbclient on them. Real sandboxes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from unittest.mock import AsyncMock

import nbformat
import pytest
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbgrader.preprocessors import Execute

from runtimes import borrow as borrowing
from runtimes import launch, provisioner
from runtimes.borrow import borrow
from runtimes.errors import StillWaiting
from runtimes.models import Runtime
from runtimes.provider import Reason
from tests.runtimes.process import RuntimesProcess
from tests.runtimes.waiting import state_is, until

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db(transaction=True)]
State = Runtime.State


@pytest.fixture
def process(profile):
    with RuntimesProcess() as one:
        yield one


async def say(client, code: str) -> str:
    """What `code` printed, from a client that was given as ready."""
    said: list[str] = []

    def hear(message) -> None:
        content = message["content"]
        said.append(content.get("text") or "\n".join(content.get("traceback", [])))

    await client.execute_interactive(code, timeout=60, output_hook=hear, allow_stdin=False)
    return "".join(said)


async def test_a_borrowed_kernel_has_its_files_and_variables_and_is_gone_afterwards(process, profile):
    files = {"data/x.csv": b"1,2"}
    async with borrow(profile=profile, account="course-1", files=files, env={"JOB": "ps1"}) as borrowed:
        client = await borrowed.client()
        code = "import os; print(open('data/x.csv').read(), os.environ['JOB']); open('out', 'w').write('o')"
        assert await say(client, code) == "1,2 ps1\n"
        assert await borrowed.alive()
        assert await borrowed.exit_reason() is None
        assert await borrowed.pull() == {"out": b"o"}
    row = await until(state_is(borrowed.runtime, State.STOPPED))
    assert (row.purpose, row.account, row.reason) == (Runtime.Purpose.GRADING, "course-1", Reason.REQUESTED)
    assert row.environment_digest
    assert not await borrowed.alive()


async def test_the_first_output_of_a_ready_client_is_never_missed(process, profile):
    for number in range(3):
        async with borrow(profile=profile, account="x") as borrowed:
            assert await say(await borrowed.client(), f"print({number})") == f"{number}\n"


async def test_a_failed_job_gives_its_runtime_back(process, profile):
    with pytest.raises(ZeroDivisionError):
        async with borrow(profile=profile, account="x") as borrowed:
            raise ZeroDivisionError
    await until(state_is(borrowed.runtime, State.STOPPED))


async def test_an_endless_cell_is_interrupted(process, profile):
    async with borrow(profile=profile, account="x") as borrowed:
        client = await borrowed.client()
        client.execute("print('begun', flush=True)\nwhile True: pass")
        while (message := await client.get_iopub_msg(timeout=60))["msg_type"] != "stream":
            pass
        await borrowed.interrupt()
        while (message := await client.get_iopub_msg(timeout=60))["msg_type"] != "error":
            pass
        assert message["content"]["ename"] == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import os; os._exit(0)", "exited"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed"),
        ("b = bytearray(10**9); b[:] = b'x' * 10**9", "out_of_memory"),
    ],
)
async def test_a_kernel_that_ends_says_why(process, profile, code, kind):
    async with borrow(profile=profile, account="x") as borrowed:
        client = await borrowed.client()
        client.execute(code)
        async with asyncio.timeout(60):
            while (ending := await borrowed.exit_reason()) is None:
                await asyncio.sleep(0.02)
        assert ending.kind == kind
        assert not await borrowed.alive()


async def test_a_runtime_that_ran_too_long_or_vanished_says_so(process, profile):
    for reason, kind in [(Reason.LIFETIME, "deadline"), (Reason.NODE_LOST, "lost")]:
        async with borrow(profile=profile, account="x") as borrowed:
            moved = {"state": State.STOPPED, "reason": reason}
            await Runtime.objects.filter(pk=borrowed.runtime.pk).aupdate(**moved)
            async with asyncio.timeout(60):
                while (ending := await borrowed.exit_reason()) is None:
                    await asyncio.sleep(0.02)
            assert ending.kind == kind


async def test_without_a_place_a_borrower_gives_up_and_leaves_nothing(profile):
    with pytest.raises(StillWaiting):
        async with borrow(profile=profile, account="x", patience=timedelta(seconds=0.2)):
            pass
    assert (await Runtime.objects.aget()).state == State.STOPPED


@pytest.mark.kill
async def test_what_was_found_out_is_not_lost_because_the_database_is_away(process, profile, monkeypatch):
    away = OperationalError("the connection is lost")
    with monkeypatch.context() as broken:
        async with borrow(profile=profile, account="course-1") as borrowed:
            broken.setattr(borrowing, "RENEW_SECONDS", 0.01)
            said = await say(await borrowed.client(), "print(6 * 7)")
            broken.setattr(launch, "astop", AsyncMock(side_effect=away))
    assert said == "42\n"
    row = await Runtime.objects.aget(pk=borrowed.runtime.pk)
    assert row.state == State.READY  # and its lease ends it
    await Runtime.objects.filter(pk=row.pk).aupdate(lease_until=timezone.now() - timedelta(seconds=1))
    assert await until(state_is(row, State.STOPPED))


async def test_a_lease_is_renewed_again_once_the_database_is_back(process, profile, monkeypatch):
    monkeypatch.setattr(borrowing, "AGAIN_SECONDS", 0.01)
    renew, missed = borrowing._renew, iter([OperationalError("away"), InterfaceError("away")])
    renewed = asyncio.Event()

    async def patchy(runtime):
        if (error := next(missed, None)) is not None:
            raise error
        renewed.set()
        return await renew(runtime)

    monkeypatch.setattr(borrowing, "_renew", patchy)
    async with borrow(profile=profile, account="course-1"):
        await asyncio.wait_for(renewed.wait(), 30)


async def test_the_runtime_of_a_killed_borrower_ends_when_its_lease_runs_out(process, profile):
    code = f"""
import asyncio, django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = {str(settings.DATABASES["default"]["NAME"])!r}
settings.RUN_DIR = {str(settings.RUN_DIR)!r}
django.setup()
from runtimes.borrow import borrow
from runtimes.models import Profile
async def main():
    async with borrow(profile=await Profile.objects.aget(), account="x") as borrowed:
        print("borrowed", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""
    from django.db import connection

    code = code.replace(repr(str(settings.DATABASES["default"]["NAME"])), repr(str(connection.settings_dict["NAME"])))
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATA_DIR": str(settings.DATA_DIR)}
    borrower = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=environment, cwd=settings.BASE_DIR, stdout=subprocess.PIPE
    )
    assert await asyncio.wait_for(borrower.stdout.readline(), 60) == b"borrowed\n"
    borrower.send_signal(signal.SIGKILL)
    await borrower.wait()
    row = await Runtime.objects.aget()
    assert row.state == State.READY
    assert timezone.now() < row.lease_until < timezone.now() + timedelta(minutes=2)
    await Runtime.objects.filter(pk=row.pk).aupdate(lease_until=timezone.now())
    assert (await until(state_is(row, State.STOPPED))).reason == Reason.OWNER_GONE


def client_of(notebook, profile, **options) -> NotebookClient:
    """Stock nbclient; its kernels are in runtimes."""
    managers = provisioner.manager_class(profile, account="course-1")
    return NotebookClient(notebook, kernel_manager_class=managers, **options)


def notebook_of(*sources: str):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells)


async def test_stock_nbclient_runs_a_notebook_in_a_runtime(process, profile):
    notebook = notebook_of("import os; print(os.getcwd(), os.environ.get('DATA_DIR'))", "1 + 1", "x")
    client = client_of(notebook, profile, allow_errors=True, timeout=60)
    await client.async_execute()
    first, second, third = (cell.outputs[0] for cell in notebook.cells)
    assert first["text"].endswith(" None\n")
    assert str(settings.BASE_DIR) not in first["text"]
    assert second["data"]["text/plain"] == "2"
    assert third["ename"] == "NameError"
    runtime = await Runtime.objects.aget()
    assert (await until(state_is(runtime, State.STOPPED))).account == "course-1"


def test_stock_nbclient_runs_in_code_without_an_event_loop(process, profile):
    notebook = notebook_of("print(6 * 7)")
    client_of(notebook, profile, timeout=60).execute()
    assert notebook.cells[0].outputs[0]["text"] == "42\n"


def test_nbgraders_own_execute_runs_in_a_runtime_and_records_an_error_in_its_cell(process, profile):
    notebook = notebook_of("answer = 6 * 7\nprint(answer)", "assert answer == 43, 'no'")
    managers = provisioner.manager_class(profile, account="course-1")
    execute = Execute(kernel_manager_class=managers, timeout=60)
    done, _resources = execute.preprocess(notebook, {"metadata": {"path": ""}})
    assert done.cells[0].outputs[0]["text"] == "42\n"
    assert (done.cells[1].outputs[0]["ename"], done.cells[1].outputs[0]["evalue"]) == ("AssertionError", "no")
    assert Runtime.objects.get().account == "course-1"


async def test_a_plain_kernelspec_with_our_provisioner_is_enough(process, profile, tmp_path):
    spec = provisioner.kernel_spec(profile, account="course-1").to_dict()
    (tmp_path / "kernels" / "ours").mkdir(parents=True)
    (tmp_path / "kernels" / "ours" / "kernel.json").write_text(json.dumps(spec))
    provisioner.register()
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")])
    manager = AsyncKernelManager(kernel_name="ours", kernel_spec_manager=specs)
    notebook = notebook_of("print(6 * 7)")
    client = NotebookClient(notebook, km=manager, timeout=60)
    await client.async_execute()
    client.kc.stop_channels()
    await manager.shutdown_kernel(now=True)
    assert notebook.cells[0].outputs[0]["text"] == "42\n"


async def test_stock_nbclient_interrupts_a_cell_that_takes_too_long_and_goes_on(process, profile):
    notebook = notebook_of("import time; time.sleep(1000)", "print('on')")
    client = client_of(notebook, profile, timeout=2, interrupt_on_timeout=True, allow_errors=True)
    await client.async_execute()
    assert notebook.cells[0].outputs[0]["ename"] == "KeyboardInterrupt"
    assert notebook.cells[1].outputs[0]["text"] == "on\n"


async def test_stock_nbclient_notices_a_dead_kernel_and_a_cell_without_end(process, profile):
    with pytest.raises(DeadKernelError):
        await client_of(notebook_of("import os; os._exit(1)"), profile, timeout=60).async_execute()
    with pytest.raises(CellTimeoutError):
        await client_of(notebook_of("while True: pass"), profile, timeout=2).async_execute()
    async for runtime in Runtime.objects.all():
        await until(state_is(runtime, State.STOPPED))


async def test_a_restarted_kernel_manager_stays_in_its_runtime(process, profile):
    manager = provisioner.manager_class(profile, account="course-1")()
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    await say(client, "x = 1; open('kept', 'w').write('kept')")
    await manager.restart_kernel(now=True)
    await client.wait_for_ready(timeout=60)
    assert "NameError" in await say(client, "x")
    assert await say(client, "print(open('kept').read())") == "kept\n"
    client.stop_channels()
    await manager.shutdown_kernel(now=True)
    await until(state_is(await Runtime.objects.aget(), State.STOPPED))
