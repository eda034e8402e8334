"""Cells that run server-side, on a real kernel."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from runtimes import bus, keyring, storage
from runtimes.endpoint import Endpoint
from runtimes.jupyter import runs
from runtimes.jupyter.current_run import INPUT_KEY
from runtimes.jupyter.execution import INPUT_TOPIC, Executor
from runtimes.jupyter.replica import Replica
from runtimes.models import Document, Kernel, Run, Runtime, Workspace
from tests.runtimes.document.conftest import cell, put_notebook, sources, until


class Bench:
    """A kernel process with its rows, a notebook, a replica as a browser would have one, and an executor."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace = workspace
        self._folder = folder
        self._asked = 0
        self.kernel: Kernel
        self.document: Document
        self.page: Replica
        self.process: asyncio.subprocess.Process | None = None
        self.executing: asyncio.Task[None] | None = None

    async def notebook(self, *sources: str) -> None:
        self.document = await sync_to_async(put_notebook)(self.workspace, *sources)
        self.page = await Replica.load(self.document.pk)

    async def start_kernel(self) -> None:
        endpoint = Endpoint("ipc", str(self._folder), "bench")
        runtime = await Runtime.objects.acreate(
            workspace=self.workspace, profile=self.workspace.profile, account="a", state=Runtime.State.READY,
            endpoint=endpoint.to_json(),
        )  # fmt: skip
        self.kernel = await Kernel.objects.acreate(
            workspace=self.workspace, runtime=runtime, index=0, state=Kernel.State.RUNNING, started_at=timezone.now()
        )
        await self.start_process()

    async def start_process(self) -> None:
        endpoint = Endpoint.from_json(self.kernel.runtime.endpoint)
        connection = self._folder / "connection.json"
        connection.write_text(json.dumps(endpoint.kernel_info(0, keyring.keys_of(endpoint))))
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ipykernel_launcher", "-f", str(connection), "--IPKernelApp.log_level=50",
            cwd=self._folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def stop_process(self, how: int = signal.SIGKILL) -> None:
        if self.process and self.process.returncode is None:
            self.process.send_signal(how)
            await self.process.wait()

    def start_executor(self) -> None:
        self.executing = asyncio.create_task(Executor().run())

    async def kill_executor(self) -> None:
        """As near to `kill -9` as a task comes: nothing is said good-bye to."""
        assert self.executing
        self.executing.cancel()
        await asyncio.gather(self.executing, return_exceptions=True)

    async def run(self, *cells: str) -> list[Run]:
        """As the page asks: one request after the other, all with one number."""
        seq = await self.page.settle()
        self._asked += 1
        return [
            await sync_to_async(runs.queue)(
                self.kernel, self.document, one, subject="ada", after_seq=seq, together=self._asked
            )
            for one in cells
        ]

    async def arrive_at_once(self, *cells: str) -> list[Run]:
        """Requests of a client that does not say what belongs together, a millisecond apart."""
        now = timezone.now()
        rows = [
            Run(kernel=self.kernel, document=self.document, cell_id=one, queued_at=now + timedelta(milliseconds=at))
            for at, one in enumerate(cells)
        ]
        made = await Run.objects.abulk_create(rows)
        await bus.publish("runs")
        return made

    def outputs(self, cell_id: str) -> list[dict[str, Any]]:
        return list(cell(self.page, cell_id)["outputs"].to_py() or [])

    def text(self, cell_id: str) -> str:
        return "".join(str(one.get("text", "")) for one in self.outputs(cell_id) if one["output_type"] == "stream")

    def state(self, cell_id: str) -> str:
        return str(cell(self.page, cell_id).get("execution_state"))

    async def over(self, *rows: Run) -> list[str]:
        """The states of these runs once they are final and every cell of the page is idle."""

        async def states() -> list[str] | None:
            found = {row.pk: row.state async for row in Run.objects.filter(pk__in=[row.pk for row in rows])}
            final = all(state not in ("queued", "running") for state in found.values())
            idle = all(one.get("execution_state") != "running" for one in self.page.view.ycells)
            return [found[row.pk] for row in rows] if final and idle else None

        return await until(states)

    async def interrupt(self) -> None:
        """What the notebook host does."""
        await sync_to_async(runs.cancel_queued)(self.kernel.pk)
        assert self.process
        self.process.send_signal(signal.SIGINT)

    async def lose_kernel(self, reason: str = "") -> None:
        await self.stop_process()
        await Kernel.objects.filter(pk=self.kernel.pk).aupdate(state=Kernel.State.DEAD, reason=reason)
        await bus.publish(f"runtime:{self.kernel.runtime.name}")


@pytest.fixture(autouse=True)
def pulls(monkeypatch) -> list[str]:
    """These kernels have no agent to pull files from: who asks is written down."""
    asked: list[str] = []

    async def pull(runtime: Runtime) -> list[str]:
        asked.append(runtime.name)
        return []

    monkeypatch.setattr(storage, "pull", pull)
    return asked


@pytest.fixture
async def bench(workspace: Workspace, run_dir: Path) -> AsyncIterator[Bench]:
    folder = run_dir / "k"
    folder.mkdir()
    made = Bench(workspace, folder)
    await made.start_kernel()
    made.start_executor()
    yield made
    await made.kill_executor()
    await made.page.close()
    await made.stop_process()


async def test_a_cell_runs_and_its_output_is_in_the_document(bench, pulls):
    await bench.notebook("print('hello')\n1 + 1")
    assert await bench.over(*await bench.run("c0")) == ["done"]
    first, second = bench.outputs("c0")
    assert first == {"output_type": "stream", "name": "stdout", "text": "hello\n"}
    assert second["data"] == {"text/plain": "2"}
    assert cell(bench.page, "c0")["execution_count"] == second["execution_count"] == 1.0
    await until(lambda: pulls == [bench.kernel.runtime.name])


async def test_what_was_typed_just_before_is_what_runs(bench):
    await bench.notebook("x = 0")
    for n in range(1, 6):
        with bench.page.doc.transaction():
            source = cell(bench.page, "c0")["source"]
            del source[:]
            source += f"print({n})"
        assert await bench.over(*await bench.run("c0")) == ["done"]
        assert bench.text("c0") == f"{n}\n"


async def test_run_all_runs_in_the_order_of_the_document_however_requests_arrive(bench):
    await bench.notebook("seen = []", *(f"seen.append({n})" for n in range(8)), "print(seen)")
    jumbled = ["c3", "c0", "c1", "c5", "c2", "c4", "c9", "c7", "c6", "c8"]
    rows = await bench.arrive_at_once(*jumbled)
    assert set(await bench.over(*rows)) == {"done"}
    assert bench.text("c9") == "[0, 1, 2, 3, 4, 5, 6, 7]\n"


async def test_an_error_stops_what_is_queued_behind_it(bench):
    await bench.notebook("1", "1 / 0", "print('no')", "print('no')")
    assert await bench.over(*await bench.run("c0", "c1", "c2", "c3")) == ["done", "failed", "cancelled", "cancelled"]
    assert bench.outputs("c1")[0]["ename"] == "ZeroDivisionError"
    assert bench.outputs("c2") == bench.outputs("c3") == []


async def test_a_cell_tagged_raises_exception_stops_nothing(bench):
    await bench.notebook("1 / 0", "print('yes')")
    cell(bench.page, "c0")["metadata"]["tags"] = ["raises-exception"]
    assert await bench.over(*await bench.run("c0", "c1")) == ["failed", "done"]
    assert bench.text("c1") == "yes\n"


async def test_run_all_of_thirty_sleeping_cells_then_interrupt_stops_all(bench):
    await bench.notebook("print('on', flush=True)\nimport time\ntime.sleep(60)", *["import time; time.sleep(60)"] * 29)
    rows = await bench.run(*(f"c{n}" for n in range(30)))
    await until(lambda: bench.text("c0") == "on\n" and bench.state("c29") == "running")
    await bench.interrupt()
    assert await bench.over(*rows) == ["failed", *["cancelled"] * 29]
    assert bench.outputs("c0")[-1]["ename"] == "KeyboardInterrupt"
    [row] = await bench.run("c1")
    await until(lambda: bench.state("c1") == "running")
    over = asyncio.create_task(bench.over(row))
    # A kernel ignores the first if it comes between its word that it is busy and the code itself (ipykernel).
    while not over.done():
        await bench.interrupt()
        await asyncio.wait([over], timeout=2)
    assert over.result() in (["failed"], ["cancelled"])


async def test_a_cell_that_swallows_the_interrupt_does_not_run_the_rest(bench):
    await bench.notebook(
        "import time\ntry:\n    print('on', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt: print('ha')",
        "print('no')",
    )
    rows = await bench.run("c0", "c1")
    await until(lambda: bench.text("c0") == "on\n")
    await bench.interrupt()
    assert await bench.over(*rows) == ["done", "cancelled"]
    assert bench.text("c0") == "on\nha\n"
    assert bench.text("c1") == ""


@pytest.mark.kill
async def test_a_kernel_that_is_killed_says_so_in_the_cell(bench):
    await bench.notebook("print('on', flush=True)\nimport time\ntime.sleep(60)", "print('no')")
    rows = await bench.run("c0", "c1")
    await until(lambda: bench.text("c0") == "on\n")
    await bench.lose_kernel("OutOfMemory")
    assert await bench.over(*rows) == ["failed", "cancelled"]
    error = bench.outputs("c0")[-1]
    assert error["output_type"] == "error"
    assert "memory" in error["evalue"]
    assert bench.text("c0") == "on\n", "what was printed before stays"
    [row] = await bench.run("c1")
    assert await bench.over(row) == ["failed"]
    assert bench.outputs("c1")[0]["output_type"] == "error"


async def test_a_restart_ends_the_running_cell_and_the_next_one_runs_in_the_new_kernel(bench):
    await bench.notebook("print('on', flush=True)\nimport time\ntime.sleep(60)", "print('new')")
    [row] = await bench.run("c0")
    await until(lambda: bench.text("c0") == "on\n")
    await bench.stop_process()
    rows = Kernel.objects.filter(pk=bench.kernel.pk)
    await rows.aupdate(state=Kernel.State.RESTARTING, restarts=1)
    await bus.publish(f"runtime:{bench.kernel.runtime.name}")
    assert await bench.over(row) == ["failed"]
    assert bench.outputs("c0")[-1]["ename"] == "KernelRestarted"
    [row] = await bench.run("c1")
    await bench.start_process()
    await rows.aupdate(state=Kernel.State.RUNNING, started_at=timezone.now())
    await bus.publish(f"runtime:{bench.kernel.runtime.name}")
    assert await bench.over(row) == ["done"]
    assert bench.text("c1") == "new\n"


@pytest.mark.kill
async def test_an_executor_that_is_killed_leaves_no_cell_running(bench):
    await bench.notebook(
        "import time, os\nprint('on', flush=True)\n"
        "while not os.path.exists('go'): time.sleep(0.01)\nprint('off')", "print('then')",
    )  # fmt: skip
    rows = await bench.run("c0", "c1")
    await until(lambda: bench.text("c0") == "on\n")
    await bench.kill_executor()
    bench.start_executor()
    await until(lambda: "restarted" in bench.text("c0"))
    (bench._folder / "go").touch()
    assert await bench.over(*rows) == ["done", "done"]
    assert bench.text("c0").endswith("off\n")
    assert bench.text("c1") == "then\n"


@pytest.mark.kill
async def test_a_run_that_ended_while_no_executor_looked_is_over_for_the_next_one(bench):
    await bench.notebook(
        "import time, os\nprint('on', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\nopen('done', 'w')"
    )
    [row] = await bench.run("c0")
    await until(lambda: bench.text("c0") == "on\n")
    await bench.kill_executor()
    (bench._folder / "go").touch()
    await until((bench._folder / "done").exists)
    bench.start_executor()
    assert await bench.over(row) == ["done"]


@pytest.mark.kill
async def test_a_run_whose_kernel_went_with_its_executor_ends_with_a_word(bench):
    await bench.notebook("print('on', flush=True)\nimport time\ntime.sleep(60)")
    [row] = await bench.run("c0")
    await until(lambda: bench.text("c0") == "on\n")
    await bench.kill_executor()
    await bench.lose_kernel("OwnerGone")
    bench.start_executor()
    assert await bench.over(row) == ["failed"]
    assert bench.outputs("c0")[-1]["output_type"] == "error"


async def test_input_is_asked_for_in_the_document_and_answered_by_any_client(bench):
    await bench.notebook("name = input('Who? ')\nprint('Hello', name)")
    [row] = await bench.run("c0")
    asked = await until(lambda: bench.page.view.ystate.get(INPUT_KEY))
    assert asked["prompt"] == "Who? "
    assert asked["cell_id"] == "c0"
    assert asked["password"] is False
    answer = {"kernel": str(bench.kernel.pk), "run": asked["run"], "value": "Ada"}
    await bus.publish(INPUT_TOPIC, json.dumps(answer).encode())
    assert await bench.over(row) == ["done"]
    assert bench.text("c0") == "Hello Ada\n"
    await until(lambda: bench.page.view.ystate.get(INPUT_KEY) is None)


async def test_clear_output_progress_bars_and_updated_displays_look_as_in_a_terminal(bench):
    await bench.notebook(
        "import sys, time\nfor n in range(50):\n    sys.stdout.write(f'\\rstep {n}'); sys.stdout.flush()\nprint()",
        "from IPython.display import clear_output\nfor n in range(5):\n    clear_output(wait=True); print(n)",
        "h = display('one', display_id=True)\nprint('between')",
        "h.update('two')",
    )
    assert set(await bench.over(*await bench.run("c0", "c1", "c2", "c3"))) == {"done"}
    assert bench.text("c0") == "step 49\n"
    assert bench.text("c1") == "4\n"
    assert [one.get("data", {}).get("text/plain") for one in bench.outputs("c2")] == ["'two'", None]
    assert bench.text("c2") == "between\n"


async def test_a_flood_of_output_is_cut_with_a_word_and_the_next_cell_runs(bench):
    await bench.notebook("for n in range(300): print('x' * 10_000)", "print('fine')")
    assert await bench.over(*await bench.run("c0", "c1")) == ["done", "done"]
    assert 1_000_000 < len(bench.text("c0")) < 1_100_000
    assert "left out" in bench.text("c0")[-200:]
    assert bench.text("c1") == "fine\n"


async def test_output_of_a_thread_that_comes_after_its_cell_is_kept(bench):
    await bench.notebook(
        "import threading, time, os\n"
        "def late():\n    while not os.path.exists('go'): time.sleep(0.01)\n    print('late', flush=True)\n"
        "threading.Thread(target=late).start()",
    )
    assert await bench.over(*await bench.run("c0")) == ["done"]
    (bench._folder / "go").touch()
    await until(lambda: bench.text("c0") == "late\n")


async def test_a_cell_that_is_deleted_while_it_runs_disturbs_nothing(bench):
    await bench.notebook(
        "print('on', flush=True)\nimport time, os\nwhile not os.path.exists('go'): time.sleep(.01)\nprint(1)",
        "print('two')",
    )
    rows = await bench.run("c0", "c1")
    await until(lambda: bench.text("c0") == "on\n")
    del bench.page.view.ycells[0]
    await bench.page.settle()
    (bench._folder / "go").touch()
    assert await bench.over(*rows) == ["done", "done"]
    assert bench.text("c1") == "two\n"
    assert len(sources(bench.page)) == 1


async def test_the_saved_file_of_a_run_is_valid(bench):
    from tests.runtimes.document.conftest import saved

    await bench.notebook("from IPython.display import display\ndisplay({'a': 1}, display_id='x')\nprint('p')\n1/0")
    await bench.over(*await bench.run("c0"))

    async def content():
        # The count is written when the run is over: a save between the last output and that has none.
        found = (await sync_to_async(saved)(bench.workspace))["cells"][0]
        return found if len(found["outputs"]) == 3 and found["execution_count"] else None

    written = await until(content)
    assert written["metadata"] == {}
    assert written["execution_count"] == 1
