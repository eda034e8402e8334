"""The whole site for `bench.storm`: started as on a laptop, watched, and stopped with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from classroom.places import CHECKOUT
from deploy.local.services import free_port, services

PATIENCE_SECONDS = 180
SAMPLE_SECONDS = 2.0
MIB = 1024 * 1024
PROCESSES = ("site", "worker", "runtimes")


@contextmanager
def fresh_place(*, postgres: bool, **variables: str) -> Iterator[Path]:
    """A folder with a data folder `data` in it; the environment names it, a free port, and fresh engines or the
    embedded default, for this process and those that it starts."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ps-", dir="/tmp")))
        folder.chmod(0o755)
        (folder / "data").mkdir(mode=0o755)
        engines = stack.enter_context(services()) if postgres else {"DATABASE_URL": "", "REDIS_URL": ""}
        os.environ |= {
            "DATA_DIR": str(folder / "data"), "DJANGO_SETTINGS_MODULE": "classroom.settings", "PORT": str(free_port()),
            "LOG_LEVEL": "WARNING", **variables, **engines,
        }  # fmt: skip
        yield folder


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """`manage.py up` in this data folder, until the body ends."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up"], cwd=CHECKOUT, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        if not any("Pupitre is up" in line for line in process.stdout):
            logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in (folder / "logs").glob("*.log"))
            raise RuntimeError(f"The site did not start: run `make demo` once, and look at its messages.\n{logs}")
        # Whatever it prints from now on must not fill the pipe.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_SECONDS)


class Watch:
    """What each process of the site used, with all that it started: peak memory (pages that several share are counted
    once) and processor time."""

    def __init__(self, pids: Path) -> None:
        self._pids = pids
        self.peak_bytes = dict.fromkeys(PROCESSES, 0)
        self.cpu_seconds = dict.fromkeys(PROCESSES, 0.0)
        self._before: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            children = _children()
            for name in PROCESSES:
                tree = self._tree(name, children)
                used = sum(map(_cpu_seconds, tree))
                self.cpu_seconds[name] = used - self._before.setdefault(name, used)
                self.peak_bytes[name] = max(self.peak_bytes[name], sum(map(_proportional_bytes, tree)))

    def _tree(self, name: str, children: dict[int, list[int]]) -> list[int]:
        try:
            waiting = [int((self._pids / f"{name}.pid").read_text())]
        except (FileNotFoundError, ValueError):
            return []
        found = []
        while waiting:
            found.append(waiting.pop())
            waiting.extend(children.get(found[-1], ()))
        return found


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The parent is field 4 (proc_pid_stat(5)); the name before may hold spaces.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it has ended
        found.setdefault(parent, []).append(int(stat.parent.name))
    return found


def _proportional_bytes(pid: int) -> int:
    """A process's share of memory (PSS), 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _cpu_seconds(pid: int) -> float:
    """What a process used itself, and its children that have ended."""
    try:
        # User and system time, then the same of children: fields 14 to 17, in clock ticks (proc_pid_stat(5)).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0
