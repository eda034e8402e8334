"""Set-up says in one sentence what is missing and what to do, and changes nothing then."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from classroom import places
from classroom.places import CHECKOUT
from deploy.local import environment, host, packages
from deploy.local.errors import MissingPackages, NoUserNamespaces, PortBusy, SetupError

FIND = str(CHECKOUT / "deploy" / "local" / "find-python")
TOOLS = "/usr/bin:/bin"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def find_python(home: Path, path: str = TOOLS, **variables: str) -> subprocess.CompletedProcess[str]:
    # The account's real home is looked at, too; a `getent` that knows no one keeps it out of the test.
    script(home / "tools" / "getent", "exit 2")
    environment = {"HOME": str(home), "PATH": f"{home / 'tools'}:{path}", **variables}
    return subprocess.run([FIND], env=environment, capture_output=True, text=True, check=False)


def python_like(path: Path, version: str) -> Path:
    """A program that answers like a Python of that version."""
    major, minor = version.split(".")[:2]
    answer = f'echo "{path}"' if (int(major), int(minor)) >= (3, 12) else "exit 1"
    return script(path, answer)


def old_pythons(folder: Path) -> Path:
    """A folder for PATH in which every Python is too old."""
    for name in ("python", "python3", "python3.12", "python3.13", "python3.14", "python3.15"):
        python_like(folder / name, "3.11")
    return folder


def test_a_python_on_path_is_found(tmp_path: Path):
    old_pythons(tmp_path / "old")
    new = python_like(tmp_path / "new" / "python3.13", "3.13")
    assert find_python(tmp_path, f"{tmp_path / 'new'}:{tmp_path / 'old'}:{TOOLS}").stdout.strip() == str(new)


@pytest.mark.parametrize(
    "place",
    [".pyenv/versions/3.12.9/bin/python3", ".local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu/bin/python3"],
)
def test_a_python_of_pyenv_or_uv_is_found_when_those_on_path_are_old(tmp_path: Path, place: str):
    old_pythons(tmp_path / "old")
    hidden = python_like(tmp_path / place, "3." + ("12" if "3.12" in place else "13"))
    assert find_python(tmp_path, f"{tmp_path / 'old'}:{TOOLS}").stdout.strip() == str(hidden)


def test_pyenv_is_found_with_an_empty_home_by_its_root(tmp_path: Path):
    hidden = python_like(tmp_path / "elsewhere" / "versions" / "3.12.1" / "bin" / "python3", "3.12")
    old = old_pythons(tmp_path / "old")
    done = find_python(tmp_path / "home", f"{old}:{TOOLS}", PYENV_ROOT=str(tmp_path / "elsewhere"))
    assert done.stdout.strip() == str(hidden)


def test_without_a_suitable_python_one_sentence_says_what_to_install(tmp_path: Path):
    done = find_python(tmp_path, f"{old_pythons(tmp_path / 'old')}:{TOOLS}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Pupitre needs Python 3.12 or newer and found none")
    assert "uv python install 3.12" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_chosen_python_that_is_too_old_is_named(tmp_path: Path):
    old = python_like(tmp_path / "mine", "3.9")
    done = find_python(tmp_path, PYTHON=str(old))
    assert done.returncode == 1
    assert done.stderr.strip() == f"PYTHON={old} is not a Python 3.12 or newer: unset PYTHON, or point it at one."


def test_the_python_that_is_found_really_is_new_enough():
    found = subprocess.run([FIND], capture_output=True, text=True, check=True).stdout.strip()
    version = subprocess.run(
        [found, "-c", "import sys; print(sys.version_info >= (3, 12))"], capture_output=True, text=True
    )
    assert version.stdout.strip() == "True"


def set_up(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", command], cwd=CHECKOUT, env=os.environ | {"PYTHON": sys.executable, **variables}, capture_output=True,
        text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_make_demo_on_a_busy_port_says_which_and_how_to_choose_another():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = set_up("demo", PORT=str(port))
    assert done.returncode != 0
    assert f"Port {port} is in use by another program" in done.stderr
    assert f"PORT={port + 1} make demo" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["0", "70000", "http", "-1"])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("PORT", text)
    with pytest.raises(SetupError, match=f"PORT={text} is not a port: choose a number"):
        host.port()


def test_a_port_is_free_again_once_nobody_listens():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortBusy):
            host.check_port(port)
    host.check_port(port)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can enter (pytest's own are closed)."""
    with tempfile.TemporaryDirectory(prefix="pupitre-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_host_without_user_namespaces_is_told_what_its_administrator_must_do(open_folder: Path):
    script(open_folder / "bwrap", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    done = set_up("demo", PORT=str(_free_port()), PATH=f"{open_folder}:{os.environ['PATH']}")
    assert done.returncode != 0
    assert "does not let unprivileged users make namespaces" in done.stderr
    assert "No permissions to create new namespace" in done.stderr
    assert "sysctl -w" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.sandbox
def test_this_host_allows_user_namespaces():
    host.check_user_namespaces()


def test_the_wrong_kernel_setting_is_named(monkeypatch: pytest.MonkeyPatch, open_folder: Path):
    script(open_folder / "bwrap", "exit 1")
    monkeypatch.setenv("PATH", f"{open_folder}:{TOOLS}")
    monkeypatch.setattr(host, "_remedy", lambda: "'sysctl -w kernel.unprivileged_userns_clone=1'")
    with pytest.raises(NoUserNamespaces, match=r"kernel\.unprivileged_userns_clone=1"):
        host.check_user_namespaces()


def test_who_is_not_root_is_told_the_command_for_missing_packages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingPackages) as caught:
        packages.ensure({"bubblewrap": "no-such-program", "slirp4netns": "no-such-program", "coreutils": "ls"})
    assert str(caught.value).startswith("System packages are missing: bubblewrap, slirp4netns.")
    assert "sudo apt-get update && sudo apt-get install --yes bubblewrap slirp4netns" in str(caught.value)


def test_root_installs_missing_packages_after_an_update(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    log = tmp_path / "log"
    script(tmp_path / "apt-get", f'echo "$@" >> {log}')
    monkeypatch.setenv("PATH", f"{tmp_path}:{TOOLS}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    packages.ensure({"frobnicate": "no-such-program"})
    update, install = log.read_text().splitlines()
    assert update.startswith("update")
    assert install.startswith("install")
    assert install.endswith("frobnicate")


def test_nothing_is_asked_of_the_system_when_all_is_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(subprocess, "run", lambda *_: pytest.fail("a program was run"))
    packages.ensure({"coreutils": "ls"})


def test_two_clones_never_share_a_database():
    assert places.checkout_key(Path("/a/pupitre")) != places.checkout_key(Path("/b/pupitre"))


def test_data_and_environments_lie_outside_the_clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("DATA_DIR", "PUPITRE_HOME", "ENVIRONMENTS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert places.data_dir().parent == places.environments_dir().parent == tmp_path / "pupitre"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert places.data_dir().parent == places.environments_dir().parent == Path("/var/lib/pupitre")


def test_an_environment_is_named_by_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENVIRONMENTS_DIR", str(tmp_path))
    monkeypatch.setattr(environment, "REQUIREMENTS", tmp_path)
    made: list[Path] = []

    def make(_kind: str, _lock: Path, folder: Path) -> None:
        made.append(folder)
        folder.mkdir()
        (folder / environment.READY).touch()

    monkeypatch.setattr(environment, "_make", make)
    (tmp_path / "site.txt").write_text("django==6.1.0")
    first = environment.ensure("site")
    assert environment.ensure("site") == first
    (tmp_path / "site.txt").write_text("django==6.1.1")
    assert environment.ensure("site") != first
    assert len(made) == 2


def test_every_lock_carries_hashes_and_no_addresses():
    for lock in sorted((CHECKOUT / "requirements").glob("*.txt")):
        text = lock.read_text()
        packages_locked = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert packages_locked, lock.name
        assert all("==" in line and line.endswith("\\") for line in packages_locked), lock.name
        assert "://" not in text, lock.name


def test_kernels_and_site_agree_on_the_protocols_they_speak():
    site, kernel = (_versions(name) for name in ("site", "kernel"))
    for name in ("ipywidgets", "jupyterlab-widgets", "ipykernel", "jupyter-client", "pyzmq"):
        assert site[name] == kernel[name], name


def test_no_kernel_package_is_in_the_sites_environment():
    assert not {"numpy", "pandas", "matplotlib", "scikit-learn"} & _versions("site").keys()


def _versions(name: str) -> dict[str, str]:
    lines = (CHECKOUT / "requirements" / f"{name}.txt").read_text().splitlines()
    pairs = (line.split(" ")[0].split("==") for line in lines if line[:1].isalpha())
    return dict(pairs)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
