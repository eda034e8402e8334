"""Command lines for bubblewrap: what a sandbox sees of the host. Pure: nothing is started here."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtimes import agent
from runtimes.agent.enclosure import HOME, INSIDE_UID, SHARED_MEMORY, SHARED_MEMORY_BYTES, SOCKETS, TEMPORARY
from runtimes.agent.kernel import base_environment
from runtimes.sandboxes.environment import MOUNT, KernelEnvironment
from runtimes.sandboxes.host import Features
from runtimes.sandboxes.seats import Hold

AGENT_FOLDER = Path(agent.__file__).resolve().parent
CODE = "/opt/pupitre"
RUN = f"{CODE}/agent/run.py"
FILTER = f"{CODE}/filter"
# Read-only files of the host that harmless programs want: fonts, time zone, certificates, the loader's cache.
_HOST_FILES = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/fonts",
    "/etc/ssl",
    "/etc/ca-certificates",
    "/etc/alternatives",
)
_ETC = {
    "passwd": f"student:x:{INSIDE_UID}:{INSIDE_UID}:Student:{HOME}:/bin/sh\n",
    "group": f"student:x:{INSIDE_UID}:\n",
    "hosts": "127.0.0.1 localhost notebook\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    # slirp4netns answers here; without a network nothing does.
    "resolv.conf": "nameserver 10.0.2.3\noptions timeout:2 attempts:2\n",
}


def write_system_files(folder: Path, filter_program: bytes) -> None:
    """The few files that every sandbox shares and the host does not have as we want them, and the agent's code: the
    checkout may lie where the sandboxes' user cannot read."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(AGENT_FOLDER, folder / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for name, content in {**{name: text.encode() for name, text in _ETC.items()}, "filter": filter_program}.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o644)


def fork_server(
    system: Path,
    slots: Path,
    environment: KernelEnvironment,
    *,
    listener: int,
    preload: Sequence[str],
    lean: bool = False,
) -> list[str]:
    """The outer sandbox of a fork server. No --disable-userns: its children need namespaces of their own."""
    return [
        "bwrap",
        *("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "notebook"),
        *_system(system, environment),
        *("--ro-bind", str(system / "filter"), FILTER),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", TEMPORARY),
        *("--dir", HOME, "--dir", SOCKETS, "--bind", str(slots), "/slots"),
        # bubblewrap's / and /dev are writable and shared by all children until they are remounted.
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *_environment({}),
        *(str(environment.python), "-I", RUN, "zygote", str(listener), FILTER, "lean" if lean else "full", *preload),
    ]


def program(
    system: Path,
    slot: Path,
    environment: KernelEnvironment,
    *,
    owner: int,
    filter_fd: int,
    info_fd: int,
    block_fd: int,
    features: Features,
    home_bytes: int,
    tmp_bytes: int,
    shared_bytes: int = SHARED_MEMORY_BYTES,
    hold: Hold | None = None,
) -> list[str]:
    """One sandbox with an interpreter of its own: the strict setting, and with the GPUs of `hold`. Its supervisor is
    pid 1's only child."""
    sizes = {TEMPORARY: tmp_bytes, SHARED_MEMORY: shared_bytes, HOME: home_bytes}
    # An older bubblewrap cannot limit the size: there the memory limit is what bounds these folders.
    size = {path: ["--size", str(amount)] if features.sized_tmpfs else [] for path, amount in sizes.items()}
    return [
        "bwrap",
        *("--unshare-all", *(["--unshare-user", "--disable-userns"] if features.disable_userns else [])),
        *("--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID)),
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "notebook"),
        *_system(system, environment),
        *("--proc", "/proc", "--dev", "/dev"),
        *(hold.arguments() if hold is not None else ()),
        *(*size[TEMPORARY], "--tmpfs", TEMPORARY, *size[SHARED_MEMORY], "--tmpfs", SHARED_MEMORY),
        *(*size[HOME], "--tmpfs", HOME),
        *("--bind", str(slot), SOCKETS),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *_environment(hold.environment if hold is not None else {}),
        *("--seccomp", str(filter_fd), "--info-fd", str(info_fd), "--block-fd", str(block_fd)),
        *("--chdir", HOME),
        *(str(environment.python), "-I", RUN, "program", "-", str(owner)),
    ]


def _system(system: Path, environment: KernelEnvironment) -> list[str]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        host = Path("/", name)
        if host.is_symlink():
            arguments += ["--symlink", str(host.readlink()).lstrip("/"), f"/{name}"]
        elif host.is_dir():
            arguments += ["--ro-bind", f"/{name}", f"/{name}"]
    for name in _ETC:
        arguments += ["--ro-bind", str(system / name), f"/etc/{name}"]
    for path in _HOST_FILES:
        arguments += ["--ro-bind-try", path, path]
    arguments += ["--ro-bind", str(environment.folder), str(MOUNT)]
    return [*arguments, "--ro-bind", str(system / "agent"), f"{CODE}/agent"]


def _environment(more: Mapping[str, str]) -> list[str]:
    arguments = ["--clearenv"]
    for name, value in {**base_environment(), "PYTHONDONTWRITEBYTECODE": "1", **more}.items():
        arguments += ["--setenv", name, value]
    return arguments
