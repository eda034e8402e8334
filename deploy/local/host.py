"""What this host must allow, asked before anything is installed or started."""

import os
import pwd
import shutil
import socket
import subprocess
from typing import Any

from deploy.local.errors import NoUserNamespaces, PortBusy, SetupError

NAMESPACES = ["--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]


def port() -> int:
    """The port people use: `PORT`, else 8000. Raises SetupError for one that is not a port."""
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SetupError(f"PORT={text} is not a port: choose a number from 1 to 65535, for example PORT=8001.")
    return int(text)


def check_port(number: int) -> None:
    """Raises PortBusy if someone listens on `number` of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except PermissionError as error:
            raise PortBusy(f"Port {number} is kept for root: choose another with PORT=8001 make demo.") from error
        except OSError as error:
            raise PortBusy(
                f"Port {number} is in use by another program: stop that program, or choose another port with "
                f"PORT={number + 1 if number < 65535 else 8001} make demo."
            ) from error


def check_user_namespaces() -> None:
    """Raises NoUserNamespaces if an unprivileged process cannot make a sandbox here."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SetupError("bubblewrap is not installed: install it with sudo apt-get install bubblewrap.")
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
    try:
        done = subprocess.run(
            [bwrap, *NAMESPACES, "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **identity,
        )
        reason = "" if done.returncode == 0 else done.stderr.strip() or "bwrap failed"
    except OSError as error:
        reason = str(error)
    if reason:
        raise NoUserNamespaces(
            f"This host does not let unprivileged users make namespaces, so student code cannot be sandboxed "
            f"({reason}): ask its administrator for {_remedy()}, then run the same command again."
        )


def _remedy() -> str:
    for name, wanted in (("kernel/apparmor_restrict_unprivileged_userns", 0), ("kernel/unprivileged_userns_clone", 1)):
        try:
            with open(f"/proc/sys/{name}", encoding="ascii") as setting:  # noqa: PTH123
                value = int(setting.read())
        except (OSError, ValueError):
            continue
        if value != wanted:
            return f"'sysctl -w {name.replace('/', '.')}={wanted}'"
    return "'sysctl -w user.max_user_namespaces=65536' (or, in a container, a profile that allows unshare)"
