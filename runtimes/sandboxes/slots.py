"""A sandbox's traces on the host: a folder of sockets and a record of what must be swept when its owner was killed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtimes.provider import SandboxUnavailable
from runtimes.sandboxes import cgroups
from runtimes.sandboxes.config import SandboxConfig


@dataclass
class Slot:
    """identity: random, never used twice; keys are derived from it. name: the runtime's, "" while pre-warmed."""

    folder: Path
    record: Path
    identity: str
    name: str = ""
    groups: list[str] = field(default_factory=list)

    def save(self) -> None:
        """Writes the record, whole or not at all."""
        aside = self.record.with_suffix(".new")
        aside.write_text(json.dumps({"identity": self.identity, "name": self.name, "groups": self.groups}))
        aside.rename(self.record)

    def remove(self) -> None:
        """No trace is left; its processes must be dead."""
        cgroups.sweep(self.groups)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.record.unlink(missing_ok=True)


def create(config: SandboxConfig, name: str) -> Slot:
    """A new slot with its record written. Raises OSError."""
    number = "k" + secrets.token_hex(4)
    slot = Slot(config.slots / number, config.records / f"{number}.json", secrets.token_hex(16), name)
    slot.save()
    slot.folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(slot.folder, config.uid, config.uid)
    return slot


def make_folder(config: SandboxConfig) -> None:
    """The folder of slots. Raises SandboxUnavailable if someone else made it."""
    config.slots.mkdir(parents=True, exist_ok=True, mode=0o711)
    seen = config.slots.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
        raise SandboxUnavailable(f"{config.slots} belongs to someone else: remove it.")
    config.slots.chmod(0o711)


def remove_folder(config: SandboxConfig) -> None:
    """At the end of a provider; a slot that is still there keeps it."""
    with suppress(OSError):
        config.slots.rmdir()


def found(config: SandboxConfig) -> list[Slot]:
    """Every slot there is, by looking."""
    slots = []
    for record in sorted(config.records.glob("*.json")):
        about = _read(record)
        folder = config.slots / record.stem
        slots.append(Slot(folder, record, about.get("identity", ""), about.get("name", ""), about.get("groups", [])))
    return slots


def sweep(config: SandboxConfig) -> int:
    """Removes what a killed predecessor left and returns how many slots that were. Nobody else may own them."""
    left = found(config)
    for slot in left:
        slot.remove()
    for folder in config.slots.iterdir():
        shutil.rmtree(folder, ignore_errors=True)
    for stray in config.run_dir.glob("z-*"):
        stray.unlink(missing_ok=True)
    return len(left)


def _read(record: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        about: dict[str, Any] = json.loads(record.read_text())
        return about
    return {}
