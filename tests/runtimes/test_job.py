"""Runtimes for jobs: lent over the counter, without rows and ZMQ; what a kernel there prints. Real sandboxes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import nbformat
import pytest
from django.conf import settings
from django.db import connection

from grading.engine.configure import RunLog
from grading.engine.contract import Limits, Settings
from grading.engine.execute import SandboxExecute
from grading.engine.load import Config
from grading.engine.seal import Seal
from runtimes.borrow import borrow
from runtimes.errors import StillWaiting
from runtimes.job import Job, job
from runtimes.models import Runtime, Usage
from runtimes.provider import Isolation
from tests.runtimes.process import RuntimesProcess
from tests.runtimes.waiting import until

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db(transaction=True)]

#: Cells whose outputs depend on everything between a kernel and its client.
CELLS = (
    "1 + 1",
    "print('out'); import sys; print('err', file=sys.stderr); print('more')",
    "x = [i ** 2 for i in range(3)]\nx",
    "_ , __, In[1], Out[1], _i",
    "def f(n):\n    assert n == 2, 'not two'\nf(3)",
    "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError('chained') from error",
    "def broken(:\n    pass",
    "type(get_ipython()).__name__, type(get_ipython().kernel).__name__, __name__",
    "import warnings; warnings.warn('careful')",
    "from IPython.display import HTML, display\ndisplay(HTML('<b>1</b>'), display_id='one')\ndisplay({'a': 1})\n2",
    "from IPython.display import update_display\nupdate_display(HTML('<b>2</b>'), display_id='one')",
    "from IPython.display import clear_output\nprint('gone'); clear_output(); print('stays')",
    "input('name? ')",
    "!echo from a shell",
    "import os; os.system('echo straight to the descriptor')\nimport time; time.sleep(0.3)",
    "import os\npid = os.fork()\nif pid == 0:\n    print('a child'); os._exit(0)\nos.waitpid(pid, 0)[1]",
    "import threading\nt = threading.Thread(target=lambda: print('a thread')); t.start(); t.join()",
    "import asyncio\nawait asyncio.sleep(0.01)\nawait asyncio.gather(*[asyncio.sleep(0, n) for n in range(3)])",
    "asyncio.run(asyncio.sleep(0))",
    "print('early', flush=True); time.sleep(0.5); print('late', file=sys.stderr); time.sleep(0.5); print('last')",
    "%%capture kept\nprint('captured')",
    "kept.stdout, len(In), sorted(Out)",
    "%who_ls str",
    "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.gca().get_title()",
    "class Odd:\n    def _repr_html_(self): return '<i>'\n    def __repr__(self): raise RuntimeError('no')\nOdd()",
    "print('é' * 100_000)",
    "%history -n 1-3",
    "raise SystemExit(3)",
    "print('\\rover\\rwritten', end='')\nprint('\\b\\b!')",
    "import getpass; getpass.getpass()",
    "from multiprocessing import Process\nfor n in range(2): p = Process(target=print, args=(n,)); p.start(); p.join()",
    "while True:\n    print('.', end='', flush=True); time.sleep(0.4)",
    "'after an interrupt'",
    "exit()",
)


@pytest.fixture
def process(profile):
    with RuntimesProcess() as one:
        yield one


async def executed(borrowing) -> list[dict]:
    """The code cells after they were run as autograding does."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    config = Config()
    config.Execute.timeout = 5
    async with borrowing as borrowed:
        run = SandboxExecute(borrowed, Limits(), config, RunLog().logger, Seal(Settings()))
        done = await run.run(notebook)
    return [plain(cell) for cell in done.cells]


def joined(outputs) -> list[dict]:
    """What follows on the same stream is one output: a kernel sends what it has whenever it comes to it."""
    found: list[dict] = []
    for output in outputs:
        if found and output["output_type"] == "stream" and found[-1].get("name") == output["name"]:
            found[-1]["text"] += output["text"]
        else:
            found.append(dict(output))
    return found


def plain(cell) -> dict:
    """What is compared: without process numbers, the dots of an endless loop, and where a long text was cut."""
    text = json.dumps([cell.execution_count, joined(cell.outputs)])
    text = re.sub(r"ipykernel_\d+|pid=\d+", "process", text)
    return {"source": cell.source, "ran": json.loads(re.sub(r'"\.+"', '"."', text))}


async def test_a_jobs_kernel_prints_what_a_kernel_on_zmq_prints(process, profile):
    over_zmq = await executed(borrow(profile=profile, account="x"))
    wired = await executed(job(profile=profile, account="x"))
    for ours, theirs in zip(wired, over_zmq, strict=True):
        assert ours == theirs


async def test_a_jobs_kernel_has_its_files_and_variables_and_is_gone_afterwards(process, profile):
    async with job(profile=profile, account="course-1", files={"data/x.csv": b"1,2"}, env={"JOB": "ps1"}) as borrowed:
        assert isinstance(borrowed, Job)
        code = "import os; print(open('data/x.csv').read(), os.environ['JOB']); open('out', 'w').write('o')"
        assert await say(await borrowed.client(), code) == "1,2 ps1\n"
        assert await borrowed.alive()
        assert await borrowed.pull() == {"out": b"o"}
        assert borrowed.runtime.environment_digest
        assert not await Runtime.objects.aexists()
    assert not await borrowed.alive()


async def test_what_jobs_used_is_charged_to_their_account(process, profile):
    for _job in range(2):
        async with job(profile=profile, account="course-1") as borrowed:
            await borrowed.alive()

    usage = await until(lambda: Usage.objects.select_related("runtime").filter(account="course-1").first())
    assert usage.wall_seconds > 0
    assert usage.cpu_seconds == pytest.approx(usage.wall_seconds * float(profile.cpu))
    assert usage.cpu_used_seconds > 0
    assert (usage.runtime.state, usage.runtime.purpose) == (Runtime.State.STOPPED, Runtime.Purpose.GRADING)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import os; os._exit(0)", "exited"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed"),
        ("b = bytearray(10**9); b[:] = b'x' * 10**9", "out_of_memory"),
    ],
)
async def test_a_jobs_kernel_that_ends_says_why(process, profile, code, kind):
    async with job(profile=profile, account="x") as borrowed:
        (await borrowed.client()).execute(code)
        assert (await ending(borrowed)).kind == kind
        assert not await borrowed.alive()


async def test_a_job_that_takes_longer_than_its_profile_allows_ends(process, profile, monkeypatch):
    profile.idle_timeout = profile.lifetime
    monkeypatch.setattr("runtimes.profiles.LIFETIME_MARGIN", -profile.lifetime + timedelta(seconds=0.5))
    async with job(profile=profile, account="x") as borrowed:
        assert (await ending(borrowed)).kind == "deadline"


async def test_an_endless_cell_of_a_job_is_interrupted(process, profile):
    async with job(profile=profile, account="x") as borrowed:
        client = await borrowed.client()
        client.execute("print('begun', flush=True)\nwhile True: pass")
        while (await client.iopub_channel.get_msg(timeout=60))["msg_type"] != "stream":
            pass
        await borrowed.interrupt()
        while (message := await client.iopub_channel.get_msg(timeout=60))["msg_type"] != "error":
            pass
        assert message["content"]["ename"] == "KeyboardInterrupt"


async def test_a_kernel_that_floods_its_borrower_waits_and_loses_nothing(process, profile):
    async with job(profile=profile, account="x") as borrowed:
        client = await borrowed.client()
        said = await say(client, "for n in range(3000): print('x' * 1000, flush=True)")
        assert said == ("x" * 1000 + "\n") * 3000


async def test_a_message_longer_than_is_wanted_is_not_taken_in(process, profile):
    async with job(profile=profile, account="x") as borrowed:
        client = await borrowed.client(max_message_bytes=1 << 20)
        with pytest.raises(TimeoutError):
            await say(client, "print('x' * (2 << 20))", timeout=3)


async def test_a_strict_profile_gets_a_runtime_by_row(process, profile):
    profile.isolation = Isolation.STRICT
    await profile.asave()
    async with job(profile=profile, account="x", files={"a": b"1"}) as borrowed:
        assert not isinstance(borrowed, Job)
        assert await say(await borrowed.client(), "print(open('a').read())") == "1\n"
    assert await Runtime.objects.filter(state__in=Runtime.LIVE).aexists()


async def test_a_job_waits_for_room_and_gives_up_after_a_while(profile):
    with RuntimesProcess(RUNTIMES_MOST=1):
        async with job(profile=profile, account="x"):
            with pytest.raises(StillWaiting):
                async with job(profile=profile, account="x", patience=timedelta(seconds=0.5)):
                    pass
        async with job(profile=profile, account="x") as borrowed:
            assert await borrowed.alive()


@pytest.mark.kill
async def test_the_sandbox_of_a_killed_borrower_ends_at_once(process, profile):
    borrower = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BORROWER, env=_environment(), cwd=settings.BASE_DIR, stdout=subprocess.PIPE
    )
    inside = (await asyncio.wait_for(borrower.stdout.readline(), 60)).decode().strip()
    assert _processes_in(inside)
    borrower.send_signal(signal.SIGKILL)
    await borrower.wait()
    await until(lambda: not _processes_in(inside))


@pytest.mark.kill
async def test_a_borrower_learns_that_the_runtimes_process_was_killed(profile):
    process = RuntimesProcess().start()
    async with job(profile=profile, account="x") as borrowed:
        inside = (await say(await borrowed.client(), NAMESPACE)).strip()
        process.kill()
        assert (await ending(borrowed)).kind == "lost"
        await until(lambda: not _processes_in(inside))
    with RuntimesProcess():
        async with job(profile=profile, account="x") as borrowed:
            assert await borrowed.alive()


@pytest.mark.kill
async def test_a_borrower_learns_that_its_sandbox_was_killed(process, profile):
    async with job(profile=profile, account="x") as borrowed:
        client = await borrowed.client()
        # No code in there can: but the host may.
        inside = (await say(client, NAMESPACE)).strip()
        for first in _processes_in(inside):
            # The first to go may take the others along.
            with suppress(ProcessLookupError):
                os.kill(first, signal.SIGKILL)
        assert (await ending(borrowed)).kind == "lost"


async def say(client, code: str, timeout: float = 60) -> str:
    """What `code` printed."""
    said: list[str] = []

    def hear(message) -> None:
        content = message["content"]
        said.append(content.get("text") or "\n".join(content.get("traceback", [])))

    await client.execute_interactive(code, timeout=timeout, output_hook=hear, allow_stdin=False)
    return "".join(said)


async def ending(borrowed):
    async with asyncio.timeout(60):
        while (found := await borrowed.exit_reason()) is None:
            await asyncio.sleep(0.02)
    return found


NAMESPACE = "import os; print(os.readlink('/proc/self/ns/pid'))"
BORROWER = """
import asyncio, django, os
from pathlib import Path
from django.conf import settings
settings.DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
settings.RUN_DIR = Path(os.environ["TEST_RUN_DIR"])
django.setup()
from runtimes.job import job
from runtimes.models import Profile
async def main():
    async with job(profile=await Profile.objects.aget(), account="x") as borrowed:
        def hear(message):
            print(message["content"].get("text", ""), end="", flush=True)
        client = await borrowed.client()
        await client.execute_interactive("import os; print(os.readlink('/proc/self/ns/pid'))", output_hook=hear)
        await asyncio.sleep(600)
asyncio.run(main())
"""


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATA_DIR": str(settings.DATA_DIR),
        "TEST_DATABASE": str(connection.settings_dict["NAME"]),
        "TEST_RUN_DIR": str(settings.RUN_DIR),
    }


def _processes_in(namespace: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if folder.name.isdigit() and str((folder / "ns/pid").readlink()) == namespace:
                found.append(int(folder.name))
    return found
