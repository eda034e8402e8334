"""`make demo`, the README's first command, as it is typed: printed, signed in to, started again, stopped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from classroom.demo.people import CAST
from classroom.places import CHECKOUT
from deploy.local.services import free_port
from tests.setup.test_up import belonging_to

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(900)]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pd-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@contextmanager
def demo(folder: Path, port: int) -> Iterator[str]:
    """What it prints until the course is there. At the end Ctrl-C, which a terminal sends to all of them."""
    ours = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "KERNEL_ENVIRONMENT", "LOG_LEVEL", "RUN_DIR"}
    # What the tests' own `make` was told, ARGS among it, is not for this one.
    makes = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "ARGS"}
    variables = {name: text for name, text in os.environ.items() if name not in ours | makes}
    started = subprocess.Popen(
        ["make", "demo"],
        cwd=CHECKOUT,
        env=variables | {"DATA_DIR": str(folder), "PORT": str(port)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert started.stdout is not None
    printed: list[str] = []
    try:
        for line in started.stdout:
            printed.append(line)
            if "The demo course is ready" in line:
                break
        assert "The demo course is ready" in printed[-1], "".join(printed)
        yield "".join(printed)
    finally:
        os.killpg(started.pid, signal.SIGINT)
        started.stdout.read()
        started.wait(120)
        started.stdout.close()


def signs_in(url: str, username: str, password: str) -> bool:
    with httpx.Client(base_url=url, timeout=60) as browser:
        browser.get("/accounts/login/")
        form = {"csrfmiddlewaretoken": browser.cookies["csrf"], "login": username, "password": password}
        return browser.post("/accounts/login/", data=form).status_code == 302


def test_the_accounts_that_it_prints_sign_in_and_a_second_start_has_the_same_course(folder: Path):
    port = free_port()
    with demo(folder, port) as printed:
        url = f"http://127.0.0.1:{port}"
        assert f"Pupitre is up: {url}" in printed
        found = re.search(r"with the password (\w+)", printed)
        assert found is not None, printed
        assert [one.username for one in CAST if not signs_in(url, one.username, found[1])] == []
        assert not signs_in(url, "ada", "a guess")
    assert belonging_to(folder) == set()
    with demo(folder, port) as again:
        assert f"with the password {found[1]}" in again
        assert "Making nbgrader's quickstart" not in again
    assert belonging_to(folder) == set()
