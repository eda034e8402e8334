"""PostgreSQL and Redis for one test run: on free ports, in a folder of their own, as an unprivileged user."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from classroom.lifeline import dies_with_parent
from deploy.local.errors import SetupError

START_SECONDS = 60
#: A crash of the machine would lose what was committed; that of a process of the server does not.
POSTGRES_OPTIONS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}


@contextmanager
def services() -> Iterator[dict[str, str]]:
    """The environment variables that name a fresh PostgreSQL and Redis; both are gone at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pupitre-services-")))
        identity = _identity()
        if identity:
            os.chown(folder, identity["user"], identity["group"])
        password = secrets.token_hex(16)
        database = stack.enter_context(_postgres(folder, password, identity))
        redis = stack.enter_context(_redis(folder, password, identity))
        yield {"DATABASE_URL": database, "REDIS_URL": redis}


def _identity() -> dict[str, Any]:
    """Popen's arguments for an unprivileged user, where we are root: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
    raise SetupError("There is no unprivileged user to run PostgreSQL as: add one with adduser --system postgres.")


def free_port() -> int:
    """A port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binary(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        raise SetupError(f"{name} is not installed: install PostgreSQL with sudo apt-get install postgresql.")
    return path


@contextmanager
def _postgres(folder: Path, password: str, identity: dict[str, Any]) -> Iterator[str]:
    data = folder / "postgres"
    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o644)  # its folder is closed to everyone else
    port = free_port()
    words = f"-D {data} -U pupitre -A scram-sha-256 --pwfile {secret} -E UTF8 --locale=C.UTF-8 --no-sync"
    _do([_binary("initdb"), *words.split()], folder, identity)
    options = [word for name, value in POSTGRES_OPTIONS.items() for word in ("-c", f"{name}={value}")]
    command = [_binary("postgres"), *f"-D {data} -p {port} -k {folder} -h 127.0.0.1".split(), *options]
    address = ["-h", "127.0.0.1", "-p", str(port), "-U", "pupitre"]
    with _running(command, folder, identity, stop=signal.SIGINT) as alive:
        _await(lambda: _succeeds([_binary("pg_isready"), "-q", *address]), alive, folder)
        _do([_binary("createdb"), *address, "pupitre"], folder, identity, {"PGPASSWORD": password})
        yield f"postgresql://pupitre:{password}@127.0.0.1:{port}/pupitre"


@contextmanager
def _redis(folder: Path, password: str, identity: dict[str, Any]) -> Iterator[str]:
    port = free_port()
    settings = folder / "redis.conf"
    settings.write_text(
        f'bind 127.0.0.1\nport {port}\ndir {folder}\nsave ""\nappendonly no\nrequirepass {password}\ndatabases 64\n'
    )
    if identity:
        os.chown(settings, identity["user"], identity["group"])
    with _running([shutil.which("redis-server") or "redis-server", settings], folder, identity) as alive:
        _await(lambda: _listens(port), alive, folder)
        yield f"redis://:{password}@127.0.0.1:{port}/0"


@contextmanager
def _running(
    command: Sequence[str | Path], folder: Path, identity: dict[str, Any], *, stop: signal.Signals = signal.SIGTERM
) -> Iterator[Callable[[], bool]]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            preexec_fn=dies_with_parent(stop),  # noqa: PLW1509 - no thread runs here
            **identity,
        )  # fmt: skip
    try:
        yield lambda: process.poll() is None
    finally:
        process.send_signal(stop)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _do(
    command: Sequence[str | Path], folder: Path, identity: dict[str, Any], variables: dict[str, str] | None = None
) -> None:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | (variables or {}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, **identity,
    )  # fmt: skip
    if done.returncode:
        raise SetupError(f"{Path(command[0]).name} failed, so these tests cannot run: {done.stdout.strip()}")


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _await(ready: Callable[[], bool], alive: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if not alive() or time.monotonic() > deadline:
            log = (folder / "log").read_text(errors="replace")[-2000:]
            raise SetupError(f"A database for the tests did not start, its log says: {log}")
        time.sleep(0.05)
