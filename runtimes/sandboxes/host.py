"""Can this host make sandboxes, and with what? Each no is one sentence with what to do."""

from __future__ import annotations

import fcntl
import functools
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.utils.translation import gettext_lazy as _

from runtimes.provider import ProviderUnavailable, SandboxUnavailable
from runtimes.sandboxes.seccomp import MACHINES


@dataclass(frozen=True, slots=True)
class Features:
    """What the installed bubblewrap can do."""

    sized_tmpfs: bool
    disable_userns: bool


def check(uid: int) -> Features:
    """What there is to work with. Raises SandboxUnavailable with the first thing that is missing."""
    if platform.system() != "Linux" or platform.machine() not in MACHINES:
        raise SandboxUnavailable(
            _("Local sandboxes need Linux on x86_64 or aarch64: set RUNTIME_PROVIDER to use Kubernetes instead.")
        )
    if shutil.which("bwrap") is None:
        raise SandboxUnavailable(_("bubblewrap is not installed: install it (apt-get install bubblewrap)."))
    if os.geteuid() == 0 and uid == 0:
        raise SandboxUnavailable(_("SANDBOX_UID is 0: choose an unprivileged uid such as 4242."))
    _check_namespaces(uid)
    return features()


@functools.cache
def features() -> Features:
    """From its own help text."""
    listing = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False).stdout
    return Features(sized_tmpfs="--size" in listing, disable_userns="--disable-userns" in listing)


def identity(uid: int) -> dict[str, Any]:
    """Arguments of Popen that make a child the sandbox's user; none where we are that user already."""
    if os.geteuid() != 0:
        return {}
    return {"user": uid, "group": uid, "extra_groups": []}


def _check_namespaces(uid: int) -> None:
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    tried = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", stdin=subprocess.DEVNULL, **identity(uid)
    )
    if tried.returncode == 0:
        return
    detail = tried.stderr.strip()[-500:]
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        message = _(
            "AppArmor forbids user namespaces, which sandboxes are made of: allow them for bubblewrap "
            "(sysctl kernel.apparmor_restrict_unprivileged_userns=0)."
        )
    elif _read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        message = _(
            "User namespaces are switched off, which sandboxes are made of: switch them on "
            "(sysctl kernel.unprivileged_userns_clone=1)."
        )
    elif _read("/proc/sys/user/max_user_namespaces") == "0":
        message = _(
            "User namespaces are switched off, which sandboxes are made of: switch them on "
            "(sysctl user.max_user_namespaces=10000)."
        )
    else:
        message = _(
            "This host does not let bubblewrap make user namespaces, which sandboxes are made of: in a container, "
            "start it with a seccomp profile that allows them, or set RUNTIME_PROVIDER to use Kubernetes instead."
        )
    raise SandboxUnavailable(message, detail)


def check_reachable(folder: Path, uid: int) -> None:
    """Raises SandboxUnavailable if the sandbox's user cannot walk down to `folder`."""
    if os.geteuid() != 0:
        return
    for parent in (folder, *folder.parents):
        seen = parent.stat()
        if seen.st_uid != uid and not seen.st_mode & 0o001:
            raise SandboxUnavailable(
                _("The sandboxes' user (uid %(uid)d) cannot enter %(folder)s: allow it (chmod o+x) or move it.")
                % {"uid": uid, "folder": parent}
            )


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def lock(run_dir: Path) -> IO[str]:
    """Held as long as this process lives. Raises ProviderUnavailable while another one holds it."""
    handle = (run_dir / "lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise ProviderUnavailable(f"another process owns the sandboxes of {run_dir}") from error
    return handle
