"""What the local provider needs to know of its host, out of Django's settings or made by a test."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from django.conf import settings

from runtimes import keyring
from runtimes.provider import MIB, Isolation, SandboxUnavailable
from runtimes.sandboxes import environment
from runtimes.sandboxes.environment import EnvironmentFailed, KernelEnvironment

# unix(7): sun_path holds 108 bytes with its NUL; the longest name below the folder is "/s/k12345678/k15-5".
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder below it is checked to be ours
TYPICAL_BYTES = 256 * MIB
MAX_RUN_DIR_BYTES = 107 - len("/s/k12345678/k15-5")


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """run_dir: a short path, for sockets. uid: whom student code runs as; our own unless we are root.
    most: how many runtimes at once (0: as many as fit). spare: fork servers kept without a sandbox in use. gpus: which
    of this host's runtimes may have (`sandboxes/gpus.py`); gpu_root: where those are looked for, for tests."""

    run_dir: Path
    environments_dir: Path
    master_key: bytes
    key_version: int = 1
    uid: int = 4242
    environment: str = ""
    isolation: Isolation = Isolation.FORKED
    most: int = 0
    spare: int = 4
    cgroups: bool = True
    gpus: str = ""
    gpu_root: Path = Path("/")

    @classmethod
    def from_settings(cls) -> Self:
        """As Django's settings say."""
        version, master = keyring.current()
        return cls(
            run_dir=Path(settings.RUN_DIR),
            environments_dir=Path(settings.ENVIRONMENTS_DIR),
            master_key=master,
            key_version=version,
            uid=settings.SANDBOX_UID if os.geteuid() == 0 else os.geteuid(),
            environment=settings.KERNEL_ENVIRONMENT,
            most=settings.RUNTIMES_MOST,
            gpus=settings.GPUS,
        )

    @property
    def capacity(self) -> int:
        """How many runtimes at once: `most`, or one for each 256 MiB of this host's memory, which is about what a
        kernel with the usual libraries and some data takes; limits are higher and rarely reached together."""
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return self.most or max(4, memory // TYPICAL_BYTES)

    @property
    def slots(self) -> Path:
        """Folders of sockets, one for each sandbox, by neutral names: a sandbox can read them in its mount table.

        In memory where that can be: student code can write there, too, and then pays with its own memory limit; on a
        disk it could fill the host's."""
        if SHARED_MEMORY.is_mount() and os.access(SHARED_MEMORY, os.W_OK):
            digest = hashlib.sha256(bytes(self.run_dir)).hexdigest()[:8]
            return SHARED_MEMORY / f"pup-{os.geteuid()}-{digest}"
        return self.run_dir / "s"

    @property
    def system(self) -> Path:
        """Files that every sandbox shares."""
        return self.run_dir / "x"

    @property
    def records(self) -> Path:
        """What a successor must know of each slot; never shown to a sandbox."""
        return self.run_dir / "m"

    def kernel_environments(self) -> list[KernelEnvironment]:
        """Every environment that may be asked for, the current one first. Raises SandboxUnavailable without one."""
        try:
            found = environment.installed(self.environments_dir)
            if self.environment:
                chosen = self._named(found)
                found = [chosen, *(each for each in found if each.digest != chosen.digest)]
        except EnvironmentFailed as error:
            raise SandboxUnavailable(str(error)) from error
        if not found:
            raise SandboxUnavailable(
                f"There is no kernel environment in {self.environments_dir}: run set-up (make demo) to make one."
            )
        return found

    def _named(self, found: list[KernelEnvironment]) -> KernelEnvironment:
        """`environment` is a digest or a folder."""
        by_digest = {each.digest: each for each in found}
        return by_digest.get(self.environment) or environment.load(Path(self.environment))
