"""`manage.py up`: the whole site on one machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import fcntl
import http.client
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

from classroom.demo.load import load
from classroom.demo.people import accounts
from classroom.supervise import Child, KeepsEnding, Supervisor


class Command(BaseCommand):
    """Prepares the database and runs site, runtimes, worker and beat."""

    help = "Run the site, the runtimes, the worker and the clock on this machine."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """--demo loads the demo course and prints its accounts."""
        parser.add_argument("--demo", action="store_true", help="load the demo course and print its accounts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP. CommandError for what a person must mend first."""
        with _alone(), _listening(int(settings.PORT)) as listener:
            call_command("prepare", verbosity=options["verbosity"])
            if options["demo"]:
                load(say=self.stdout.write)
            connections.close_all()
            try:
                asyncio.run(self._supervise(listener, accounts() if options["demo"] else ""))
            except KeepsEnding as error:
                raise CommandError(f"{error}\nThe logs are in {settings.DATA_DIR / 'logs'}.") from error

    async def _supervise(self, listener: socket.socket, greeting: str) -> None:
        data = settings.DATA_DIR
        supervisor = Supervisor(processes(listener), logs=data / "logs", pids=data / "pids", folder=settings.BASE_DIR)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, supervisor.stop)
        announcement = asyncio.create_task(self._announce(greeting))
        try:
            await supervisor.run()
        finally:
            announcement.cancel()
        self.stdout.write("Stopped.")

    async def _announce(self, greeting: str) -> None:
        while not await asyncio.to_thread(_answers):
            await asyncio.sleep(0.1)
        self.stdout.write(f"\nPupitre is up: {settings.SITE_ORIGIN}\n{greeting}")
        self.stdout.write(f"Data and logs: {settings.DATA_DIR}\nCtrl-C stops everything.\n")
        self.stdout.flush()


def processes(listener: socket.socket) -> list[Child]:
    """The four processes. `runtimes` stops last: it closes the sandboxes that the others still use."""
    manage = [sys.executable, "manage.py"]
    celery = [sys.executable, "-m", "celery", "--app", "classroom.celery"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [
        Child("runtimes", [*manage, "runtimes"], rank=0),
        Child("site", [*manage, "serve", "--fd", str(listener.fileno())], fds=(listener.fileno(),)),
        Child("worker", [*celery, "worker", "--pool", "prefork", *quiet]),
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


def _answers() -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", int(settings.PORT), timeout=30)
    try:
        connection.request("GET", "/", headers={"Host": settings.SITE_HOST})
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()
