"""`manage.py up`: the whole site on one machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from classroom.checks import SITE
from classroom.lifeline import dies_with_parent
from classroom.supervise import Child, KeepsEnding, Supervisor


class Command(BaseCommand):
    """Prepares the database and runs site, runtimes, worker and beat."""

    help = "Run the site, the runtimes, the worker and the clock on this machine."
    requires_system_checks = (SITE,)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """--demo loads the demo course and prints its accounts."""
        parser.add_argument("--demo", action="store_true", help="load the demo course and print its accounts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP. CommandError for what a person must mend first."""
        with _alone(), _listening(int(settings.PORT)) as listener:
            call_command("prepare", verbosity=options["verbosity"])
            connections.close_all()
            try:
                asyncio.run(self._supervise(listener, demo=options["demo"]))
            except KeepsEnding as error:
                raise CommandError(f"{error}\nThe logs are in {settings.DATA_DIR / 'logs'}.") from error

    async def _supervise(self, listener: socket.socket, *, demo: bool) -> None:
        data = settings.DATA_DIR
        supervisor = Supervisor(processes(listener), logs=data / "logs", pids=data / "pids", folder=settings.BASE_DIR)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, supervisor.stop)
        announcement = asyncio.create_task(self._announce(demo))
        try:
            await supervisor.run()
        finally:
            announcement.cancel()
            await asyncio.gather(announcement, return_exceptions=True)
        self.stdout.write("Stopped.")

    async def _announce(self, demo: bool) -> None:
        while not await _answers():
            await asyncio.sleep(0.1)
        self.stdout.write(f"\nPupitre is up: {settings.SITE_ORIGIN}")
        self.stdout.write(f"Data and logs: {settings.DATA_DIR}. Ctrl-C stops everything.")
        self.stdout.flush()
        if demo:
            await _load_demo()


def processes(listener: socket.socket) -> list[Child]:
    """The four processes. `runtimes` stops last: it closes the sandboxes that the others still use."""
    manage = [sys.executable, "manage.py"]
    # Its banner is no line of JSON.
    celery = [sys.executable, "-m", "celery", "--app", "classroom.celery", "--quiet"]
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [
        Child("runtimes", [*manage, "runtimes"], rank=0),
        Child("site", [*manage, "serve", "--fd", str(listener.fileno())], fds=(listener.fileno(),)),
        # Pages come before grading where both want the same core.
        Child("worker", ["nice", "-n", "5", *celery, "worker", "--pool", "prefork", *alone]),
        Child("beat", [*celery, "beat"]),
    ]


@contextmanager
def _alone() -> Iterator[None]:
    """Raises CommandError if this data folder is in use by another `up`."""
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    with (settings.DATA_DIR / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise CommandError(
                f"The site in {settings.DATA_DIR} already runs as process {lock.read().strip()}: stop it with Ctrl-C "
                f"where it was started, or choose another folder with DATA_DIR."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """The socket that people connect to. Held here, so that a restart of the site process refuses nobody."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise CommandError(
            f"Port {port} is in use by another program: stop that program, or choose another port with "
            f"PORT={port + 1} make demo."
        ) from error
    with listener:
        yield listener


async def _load_demo() -> None:
    """The demo course and its accounts. A process of its own: it takes long, and this one must stay free to stop."""
    command = [sys.executable, "manage.py", "demo"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=settings.BASE_DIR, start_new_session=True, preexec_fn=dies_with_parent()
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _answers() -> bool:
    """Whether the site answers a request for its first page."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(settings.PORT))
    except OSError:
        return False
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {settings.SITE_HOST}\r\nConnection: close\r\n\r\n".encode())
        status = (await reader.readline()).split(b" ")
        return len(status) > 1 and int(status[1]) < 500
    except OSError:
        return False
    finally:
        writer.close()
