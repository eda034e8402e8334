"""One command runs all processes; none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from classroom.places import CHECKOUT

PATIENCE_SECONDS = 30
# Runs a child that itself has a child, like a worker with its pool; both ignore nothing.
FAMILY = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
SUPERVISE = """
import asyncio, pathlib, signal, sys
from classroom import guard, supervise
guard.GRACE_SECONDS = supervise.GRACE_SECONDS = 1.0
folder = pathlib.Path(sys.argv[1])
children = [supervise.Child(f"child{n}", [sys.executable, "-c", code]) for n, code in enumerate(sys.argv[2:])]
async def main():
    supervisor = supervise.Supervisor(children, logs=folder, pids=folder, folder=pathlib.Path.cwd())
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, supervisor.stop)
    await supervisor.run(lambda: None)
try:
    asyncio.run(main())
except supervise.KeepsEnding as error:
    sys.exit(f"KeepsEnding: {error}")
"""


def eventually(holds, what: str):
    """The first true value of `holds()`."""
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if value := holds():
            return value
        time.sleep(0.02)
    raise AssertionError(what)


def family_of(leader: int) -> set[int]:
    """The living processes of a process group."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, _parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(group) == leader and state != "Z":
                found.add(int(entry.name))
    return found


class Run:
    """A supervisor over Python snippets, in a process of its own."""

    def __init__(self, folder: Path, *snippets: str) -> None:
        self.folder = folder
        command = [sys.executable, "-c", SUPERVISE, str(folder), *snippets]
        self.process = subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True)

    def leader(self, number: int = 0) -> int:
        path = self.folder / f"child{number}.pid"
        return int(eventually(lambda: path.exists() and path.read_text(), f"child{number} runs"))

    def end(self) -> str:
        return self.process.communicate(timeout=PATIENCE_SECONDS)[1]


@pytest.fixture
def supervise(tmp_path: Path):
    runs: list[Run] = []

    def start(*snippets: str) -> Run:
        runs.append(Run(tmp_path, *snippets))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def test_ctrl_c_leaves_no_process_behind(supervise):
    run = supervise(FAMILY, FAMILY)
    leaders = [run.leader(0), run.leader(1)]
    eventually(lambda: all(len(family_of(leader)) == 2 for leader in leaders), "children have children")
    run.process.send_signal(signal.SIGINT)
    run.end()
    assert run.process.returncode == 0
    assert [family_of(leader) for leader in leaders] == [set(), set()]


def test_a_process_that_ignores_the_request_to_stop_is_killed(supervise):
    run = supervise(STUBBORN)
    leader = run.leader()
    eventually(lambda: b"time.sleep" in Path(f"/proc/{leader}/cmdline").read_bytes(), "the child has started")
    run.process.send_signal(signal.SIGINT)
    run.end()
    assert family_of(leader) == set()


@pytest.mark.parametrize("snippet", [FAMILY, STUBBORN])
def test_kill_minus_nine_of_the_supervisor_leaves_no_process_behind(supervise, snippet):
    run = supervise(snippet)
    leader = run.leader()
    eventually(lambda: family_of(leader), "the child has started")
    run.process.kill()
    run.end()
    eventually(lambda: not family_of(leader), "nothing is left")


def test_a_process_that_ends_is_started_again_and_takes_its_family_with_it(supervise):
    run = supervise(FAMILY)
    first = run.leader()
    eventually(lambda: len(family_of(first)) == 2, "the child has a child")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: run.leader() != first, "it runs again")
    assert family_of(first) == set()
    run.process.send_signal(signal.SIGINT)
    assert "child0 ended (signal SIGKILL) and is started again" in run.end()


def test_a_process_that_keeps_ending_stops_everything_with_the_end_of_its_log(supervise):
    run = supervise("import sys; sys.exit('no database')", FAMILY)
    other = run.leader(1)
    said = run.end()
    assert run.process.returncode == 1
    assert "KeepsEnding: child0 ended 5 times in a minute:\nno database" in said
    assert family_of(other) == set()
