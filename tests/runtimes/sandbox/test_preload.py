"""A first kernel that what it imports beforehand ends is started again without: a warm runtime has one that runs."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from runtimes.agent import spawner as spawner_module
from runtimes.agent.gauges import Gauges
from runtimes.agent.spawner import ProgramSpawner
from runtimes.agent.supervisor import Supervisor
from runtimes.keys import connection_keys
from tests.runtimes.providers import MASTER
from tests.runtimes.sandbox.notebook import WAIT

AGENT = str(Path(spawner_module.__file__).parent.parent)
# The agent's own kernel up to where it would be IPython's, which tells that it listens.
PROGRAM = """
import os, sys, time
sys.path[:0] = {folders}
from agent import kernel, warm
def become(order, ready):
    os.write(ready, b"1")
    time.sleep(600)
kernel.become, warm.build_application = become, lambda: None
kernel.main(sys.argv[2:])
"""


# Kernel 0 ends at once, any other listens.
FIRST_ENDS = """
import json, os, pathlib, sys, time
if json.loads(pathlib.Path(sys.argv[2]).read_text())["index"]:
    os.write(int(sys.argv[3]), b"1")
    time.sleep(600)
"""


class Told(Exception):
    """The supervisor tells its owner that it is ready."""


class Watched(ProgramSpawner):
    """Notes what kernels are started with, and ends the loop that it serves once it is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.preloads: list[list[str]] = []

    def start(self, order: dict[str, Any], ready: int) -> None:
        self.preloads.append(list(order["preload"]))
        super().start(order, ready)

    def tell_owner(self, message: dict[str, Any]) -> None:
        raise Told(message["ready"])


@pytest.fixture
def spawner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Watched]:
    program = tmp_path / "run.py"
    program.write_text(PROGRAM.format(folders=[str(tmp_path), str(AGENT)]))
    monkeypatch.setattr(sys, "argv", [str(program)])
    made = Watched()
    yield made
    for pid in list(made._processes):
        made.signal(pid, signal.SIGKILL, group=True)


def supervisor(spawner: Watched, run_dir: Path, preload: list[str], kernels: int = 1) -> Supervisor:
    """Of a runtime with this preload, which begins with so many kernels."""
    keys = asdict(connection_keys(MASTER, 1, "preload"))
    place = {"keys": keys, "transport": "ipc", "host": str(run_dir), "env": {}, "watch_idle": False}
    return Supervisor({**place, "kernels": kernels, "preload": preload}, spawner, Gauges(None, None, None))


def served(supervisor: Supervisor) -> list[dict[str, Any]]:
    """Its kernels as it tells of them when it is ready."""
    with pytest.raises(Told) as told:
        supervisor.serve()
    supervisor._desk.socket.context.destroy()
    return [{key: value for key, value in each.items() if key != "idle_seconds"} for each in told.value.args[0]]


def described(index: int = 0, **other: Any) -> dict[str, Any]:
    usual = {"index": index, "state": "idle", "restarts": 0, "exit_status": None, "exit_reason": None}
    return {**usual, **other}


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os\nos._exit(1)", "exited, status 1"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "killed, status -9"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "crashed, status -11"),
    ],
    ids=["exits", "is killed", "crashes"],
)
def test_a_kernel_that_its_preload_ends_is_started_again_without(
    spawner: Watched, run_dir: Path, tmp_path: Path, code: str, how: str
) -> None:
    (tmp_path / "doomed.py").write_text(code)
    agent = supervisor(spawner, run_dir, ["doomed"], kernels=2)
    assert served(agent) == [described(0), described(1)]
    assert sorted(spawner.preloads) == [[], [], ["doomed"], ["doomed"]]
    assert agent._preload_failed == how


@pytest.mark.parametrize("code", ["import sys\nsys.exit('no')", "raise OSError", "1 +", "ready = 1"])
def test_a_module_that_only_refuses_to_be_imported_costs_no_other_kernel(
    spawner: Watched, run_dir: Path, tmp_path: Path, code: str
) -> None:
    (tmp_path / "moody.py").write_text(code)
    agent = supervisor(spawner, run_dir, ["moody"])
    assert served(agent) == [described()]
    assert spawner.preloads == [["moody"]]
    assert not agent._preload_failed


def test_one_that_ends_without_its_preload_too_is_told_as_dead(spawner: Watched, run_dir: Path) -> None:
    Path(sys.argv[0]).write_text("import sys\nsys.exit(3)")
    dead = described(state="dead", exit_status=3, exit_reason="exited")
    assert served(supervisor(spawner, run_dir, ["json"])) == [dead]
    assert spawner.preloads == [["json"], []]


@pytest.mark.parametrize("preload", [["json"], []], ids=["begun again", "dead"])
def test_an_end_that_is_told_together_with_its_closed_pipe_costs_no_agent(
    spawner: Watched, run_dir: Path, monkeypatch: pytest.MonkeyPatch, preload: list[str]
) -> None:
    """The pipe of the next process gets the number of the one that was closed."""
    Path(sys.argv[0]).write_text(FIRST_ENDS)
    agent = supervisor(spawner, run_dir, preload, kernels=2)
    poll, rounds = agent._poller.poll, []

    def late(milliseconds: int) -> list[tuple[Any, int]]:
        until = time.monotonic() + WAIT
        while len(spawner._processes) > 1 and time.monotonic() < until:
            time.sleep(0.01)
        rounds.append(poll(milliseconds))
        return rounds[-1]

    monkeypatch.setattr(agent._poller, "poll", late)
    assert served(agent) == [described(state="dead", exit_status=0, exit_reason="exited"), described(1)]
    assert len(rounds[0]) >= 2
