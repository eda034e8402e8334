"""The kernel environment: a complete copied interpreter with the packages that notebooks may import.

Copied whole, because the uid that student code runs as cannot read an interpreter below somebody's home, and because
the sandbox shows it nothing of the host but /usr. Named by a digest of the lock file and the interpreter, so that a
grade can say in which environment it was made. Standard library only: set-up runs this before anything is installed.

    python -m runtimes.sandboxes.environment LOCK_FILE ENVIRONMENTS_FOLDER [--kernels FOLDER] [--python PYTHON]
        [--uv UV]
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes import kernelspecs
from runtimes.kernelspecs import Kernelspec

# Where the sandbox mounts the environment; scripts in its bin folder point there.
MOUNT = Path("/opt/py")
PREFIX = "kernel-"
# Below an environment's folder, as Jupyter has it below `sys.prefix`.
KERNELSPECS = Path("share", "jupyter", "kernels")
READY = ".ready"
# A change of what this file makes is a new digest.
RECIPE = 3
_LEFT_OUT = ("__pycache__", "test", "idlelib", "site-packages", "dist-packages", "EXTERNALLY-MANAGED", "config-*")
_FACTS = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "stdlib": sysconfig.get_path("stdlib"), "platstdlib": sysconfig.get_path("platstdlib"),
    "version": "%d.%d" % sys.version_info[:2], "build": sys.version, "machine": platform.machine(),
}))
"""


class EnvironmentFailed(Exception):
    """The environment could not be made; the message is one sentence with what to do."""


@dataclass(frozen=True, slots=True)
class KernelEnvironment:
    """One finished environment on this host."""

    digest: str
    folder: Path
    python_version: str

    @property
    def python(self) -> Path:
        """The interpreter, seen from inside a sandbox."""
        return MOUNT / "bin" / f"python{self.python_version}"

    def kernelspecs(self) -> dict[str, Kernelspec]:
        """Its kernels beside Python's, by name."""
        return kernelspecs.read(self.folder / KERNELSPECS)


def ensure(
    lock: Path,
    environments: Path,
    *,
    more_kernels: Path | None = None,
    python: Path | None = None,
    uv: Path | None = None,
) -> KernelEnvironment:
    """The environment for `lock`, made if it is not there (a minute or two); two callers at once make it once.

    more_kernels: a folder with a folder (its kernel.json) for each kernel that no package brings one for.
    python: the interpreter to copy, by default the one that runs this. Raises EnvironmentFailed."""
    facts = _interpreter_facts(python or Path(sys.executable))
    digest = _digest(lock, facts, more_kernels)
    folder = environments / (PREFIX + digest)
    environments.mkdir(parents=True, exist_ok=True, mode=0o755)
    with _only_one(environments / f".{folder.name}.lock"):
        if not (folder / READY).exists():
            _build(lock, folder, facts, uv, more_kernels)
    return load(folder)


def load(folder: Path) -> KernelEnvironment:
    """The environment in `folder`. Raises EnvironmentFailed if it is not a finished one."""
    try:
        ready = json.loads((folder / READY).read_text())
        return KernelEnvironment(str(ready["digest"]), folder.resolve(), str(ready["python"]))
    except (OSError, ValueError, KeyError) as error:
        raise EnvironmentFailed(
            f"{folder} is not a finished kernel environment: run set-up (make demo) again."
        ) from error


def installed(environments: Path) -> list[KernelEnvironment]:
    """Every finished environment in a folder, the newest first."""
    ready = sorted(environments.glob(f"{PREFIX}*/{READY}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [load(path.parent) for path in ready]


def _digest(lock: Path, facts: dict[str, Any], more_kernels: Path | None) -> str:
    # The lock's comments name paths of whoever compiled it.
    lines = [line for line in lock.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    identity = [RECIPE, facts["build"], facts["machine"], lines]
    if more_kernels is not None:
        files = sorted(path for path in more_kernels.rglob("*") if path.is_file())
        identity.append([[str(path.relative_to(more_kernels)), path.read_bytes().hex()] for path in files])
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _interpreter_facts(python: Path) -> dict[str, Any]:
    answer = subprocess.run([python, "-I", "-c", _FACTS], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise EnvironmentFailed(f"{python} does not run: set PYTHON to a Python 3.12 or newer.")
    facts: dict[str, Any] = json.loads(answer.stdout)
    return facts


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(lock: Path, folder: Path, facts: dict[str, Any], uv: Path | None, more_kernels: Path | None) -> None:
    """Builds aside and renames, so that a half-made environment is never found."""
    print(f"Making the kernels' environment in {folder} (once; a few minutes) ...", file=sys.stderr, flush=True)
    aside = folder.with_name(folder.name + ".making")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        python = _copy_interpreter(aside, facts)
        _install(python, lock, uv)
        if more_kernels is not None:
            shutil.copytree(more_kernels, aside / KERNELSPECS, dirs_exist_ok=True)
        _point_scripts_at_mount(aside / "bin")
        _compile(python, aside)
        _make_readable(aside)
        about = {"digest": folder.name.removeprefix(PREFIX), "python": facts["version"], "build": facts["build"]}
        (aside / READY).write_text(json.dumps(about))
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except OSError as error:
        raise EnvironmentFailed(
            f"The kernel environment could not be made ({error}): check free disk space, then run set-up again."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _copy_interpreter(folder: Path, facts: dict[str, Any]) -> Path:
    name = f"python{facts['version']}"
    binary = folder / "bin" / name
    binary.parent.mkdir(parents=True)
    shutil.copy2(facts["executable"], binary)
    for alias in ("python3", "python"):
        (binary.parent / alias).symlink_to(name)
    library = folder / "lib" / name
    left_out = shutil.ignore_patterns(*_LEFT_OUT)
    for source in dict.fromkeys((facts["stdlib"], facts["platstdlib"])):
        shutil.copytree(source, library, ignore=left_out, symlinks=False, dirs_exist_ok=True)
    for shared in _private_libraries([Path(facts["executable"]), *library.glob("lib-dynload/*.so")]):
        shutil.copy2(shared, folder / "lib" / shared.name)
    return binary


def _private_libraries(binaries: Sequence[Path]) -> set[Path]:
    """Shared libraries that the loader takes from outside the system's folders (which every sandbox sees)."""
    listing = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    found = {Path(path) for path in re.findall(r"=> (/\S+) \(0x", listing)}
    system = ("/usr/", "/lib/", "/lib64/")
    return {path for path in found if not str(path.resolve()).startswith(system) or str(path).startswith("/usr/local/")}


def _install(python: Path, lock: Path, uv: Path | None) -> None:
    """The locked packages, and pip itself for `%pip` where a profile has a network (it comes with Python)."""
    environment = _clean_environment(python)
    # It has no option to be quiet, and takes none from the environment.
    _run([python, "-I", "-m", "ensurepip", "--default-pip"], environment, quiet=True)
    program = uv or shutil.which("uv")
    options: list[str | Path] = ["--require-hashes", "-r", lock]
    if program:
        command: list[str | Path] = [
            program,
            "pip",
            "install",
            "-q",
            "--python",
            python,
            "--break-system-packages",
            *options,
        ]
    else:
        command = [python, "-I", "-m", "pip", "install", "-q", "--break-system-packages", *options]
    _run(command, environment)


def _compile(python: Path, folder: Path) -> None:
    # The sandbox cannot write here: what is not compiled now would be compiled at every start. Packages may hold
    # files that are not for this Python, so the exit status says nothing.
    command: list[str | Path] = [python, "-I", "-m", "compileall", "-q", "-j", "0", folder / "lib"]
    subprocess.run(command, check=False, capture_output=True, env=_clean_environment(python))


def _clean_environment(python: Path) -> dict[str, str]:
    left_out = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"LD_LIBRARY_PATH": str(python.parent.parent / "lib")}


def _run(command: Sequence[str | Path], environment: dict[str, str], *, quiet: bool = False) -> None:
    """quiet: what it says is shown only if it fails. Raises EnvironmentFailed."""
    output = subprocess.PIPE if quiet else sys.stderr
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, check=False, env=environment, stdout=output, stderr=subprocess.STDOUT
    )
    if done.returncode:
        if done.stdout:
            print(done.stdout.decode("utf-8", "replace"), file=sys.stderr)
        raise EnvironmentFailed(
            "Installing the kernels' packages failed (above): check the network and the free disk space, then run the "
            "same command again."
        )


def _point_scripts_at_mount(folder: Path) -> None:
    pattern = re.compile(rb"\A#!\S*/bin/python[0-9.]*")
    for script in folder.iterdir():
        if script.is_symlink() or script.stat().st_size > 1 << 20:
            continue
        text = script.read_bytes()
        if pattern.match(text):
            script.write_bytes(pattern.sub(b"#!" + bytes(MOUNT / "bin" / "python3"), text, count=1))


def _make_readable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        executable = stat.S_ISDIR(mode) or mode & 0o100
        path.chmod(0o755 if executable else 0o644)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the folder of the environment; one sentence and 1 when it cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m runtimes.sandboxes.environment")
    parser.add_argument("lock", type=Path)
    parser.add_argument("environments", type=Path)
    parser.add_argument("--kernels", type=Path)
    parser.add_argument("--python", type=Path)
    parser.add_argument("--uv", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        made = ensure(chosen.lock, chosen.environments, more_kernels=chosen.kernels, python=chosen.python, uv=chosen.uv)
        print(made.folder)
    except EnvironmentFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
