"""Python environments of the site: made once for a lock file and an interpreter, outside the clone."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from classroom.places import CHECKOUT, environments_dir
from deploy.local.errors import InstallFailed, SetupError
from runtimes.sandboxes import environment as kernel_environment

REQUIREMENTS = CHECKOUT / "requirements"
READY = ".ready"


def ensure(kind: str) -> Path:
    """The Python of the environment that is locked in requirements/`kind`.txt; makes it if it is not there.

    Two set-ups at the same time make it once; one that was interrupted is made anew.
    """
    lock = REQUIREMENTS / f"{kind}.txt"
    folder = _folder(kind, lock)
    python = folder / "bin" / "python"
    if (folder / READY).exists():
        return python
    with _only_one(folder.with_suffix(".lock")):
        if not (folder / READY).exists():
            _make(kind, lock, folder)
    return python


def kernels() -> Path:
    """The folder of the kernels' environment, which is a whole interpreter of its own."""
    try:
        return kernel_environment.ensure(REQUIREMENTS / "kernel.txt", environments_dir(), uv=_uv()).folder
    except kernel_environment.EnvironmentFailed as error:
        raise InstallFailed(str(error)) from error


def _uv() -> Path | None:
    """uv, installed from its own lock; None where it has no build for this machine (pip does the same then)."""
    try:
        return ensure("installer").with_name("uv")
    except InstallFailed:
        return None


def _folder(kind: str, lock: Path) -> Path:
    """Named by the lock file and this interpreter: a change of either is a new environment."""
    identity = f"{Path(sys.executable).resolve()}\n{sys.version}\n".encode() + lock.read_bytes()
    return environments_dir() / f"{kind}-{hashlib.sha256(identity).hexdigest()[:16]}"


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make(kind: str, lock: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if kind != "installer":
        print(f"Making the {kind} environment in {folder} (once; a few minutes) ...", file=sys.stderr, flush=True)
    _create(folder, with_pip=kind == "installer")
    try:
        _install(kind, lock, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / READY).touch()


def _create(folder: Path, *, with_pip: bool) -> None:
    try:
        venv.create(folder, symlinks=True, with_pip=with_pip)
    except (subprocess.CalledProcessError, ImportError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        raise SetupError(
            f"{sys.executable} cannot make environments because it comes without ensurepip: install its venv package "
            f"(sudo apt-get install {version}-venv) or set PYTHON to a complete Python."
        ) from error


def _install(kind: str, lock: Path, folder: Path) -> None:
    if kind == "installer":
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(lock)])
        return
    python = folder / "bin" / "python"
    uv = _uv()
    if uv is None:
        _run([str(python), "-m", "ensurepip", "--upgrade"])
        _run([str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(lock)])
        return
    options = ["--python", str(python), "--require-hashes", "--compile-bytecode", "--quiet"]
    _run([str(uv), "pip", "install", *options, "-r", str(lock)])


def _run(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False, env=environment).returncode:
        raise InstallFailed(
            "Installing Python packages failed (above): check the network and the free disk space, then run the same "
            "command again."
        )
