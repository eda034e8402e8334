"""Locks the dependencies again, keeping every version that still fits; `--upgrade` takes the newest."""

import os
import subprocess
from pathlib import Path

from deploy.local import environment
from deploy.local.errors import InstallFailed

# installer first and site before the two that must agree with it
ORDER: dict[str, list[str]] = {"installer": [], "site": [], "dev": ["-c", "site.txt"], "kernel": [], "kernel-bash": []}
OPTIONS = ["--quiet", "--universal", "--python-version", "3.12", "--generate-hashes", "--no-emit-index-url"]


def compile_all(arguments: list[str]) -> int:
    """Write requirements/*.txt from requirements/*.in."""
    uv = environment.ensure("installer").with_name("uv")
    # The header of a lock names this command instead of the options.
    variables = os.environ | {"UV_CUSTOM_COMPILE_COMMAND": "make lock"}
    for name, constraints in ORDER.items():
        command: list[str | Path] = [
            uv,
            "pip",
            "compile",
            *OPTIONS,
            *constraints,
            *arguments,
            f"{name}.in",
            "-o",
            f"{name}.txt",
        ]
        if subprocess.run(command, cwd=environment.REQUIREMENTS, env=variables, check=False).returncode:
            raise InstallFailed(f"requirements/{name}.in could not be locked (above): change it and try again.")
    return 0
