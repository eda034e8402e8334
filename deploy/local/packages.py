"""System packages: what is missing, and installing it when we are root on a Debian-like system."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.local.errors import InstallFailed, MissingPackages

# package -> a file or command that tells that it is there
DEMO = {
    "bubblewrap": "bwrap",
    "slirp4netns": "slirp4netns",
}
TEST = {
    "chromium": "chromium",
    "fonts-dejavu-core": "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "postgresql": "/usr/lib/postgresql",
    "redis-server": "redis-server",
    "gettext": "msgfmt",
    "git": "git",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _present(package: str, sign: str) -> bool:
    if package == "chromium":
        return any(map(shutil.which, BROWSERS))
    if package == "postgresql":
        return bool(shutil.which("initdb")) or any(Path(sign).glob("*/bin/initdb"))
    if sign.startswith("/"):
        return Path(sign).exists()
    return shutil.which(sign) is not None


def missing(packages: dict[str, str]) -> list[str]:
    """The names of the packages whose sign is not found."""
    return [package for package, sign in packages.items() if not _present(package, sign)]


def install_command(packages: Iterable[str]) -> str:
    """What a person types to install `packages` on Debian."""
    return f"sudo apt-get update && sudo apt-get install --yes {shlex.join(packages)}"


def ensure(packages: dict[str, str]) -> None:
    """Install what is missing. Raises MissingPackages where we may not, InstallFailed where apt-get fails."""
    names = missing(packages)
    if not names:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        hint = "" if shutil.which("apt-get") else " (those are Debian's names: use your system's package manager)"
        raise MissingPackages(
            f"System packages are missing: {', '.join(names)}. Install them with: {install_command(names)}{hint}"
        )
    print(f"Installing system packages: {', '.join(names)} ...", file=sys.stderr, flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "--yes", "--no-install-recommends", *names]):
        done = subprocess.run(
            ["apt-get", *command], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            print(done.stdout, file=sys.stderr)
            raise InstallFailed(f"apt-get {command[0]} failed (above): mend that and run the same command again.")
