"""A machine with GPUs, as files: real character devices (of the kernel's own null, zero, full and urandom) under the
driver's names, what its module says in /proc, and libraries that the loader takes."""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

VERSION = "550.54.15"
#: Stands for the driver's libraries: small, and loaded into nothing yet.
_REAL_LIBRARY = "librt.so.1"
#: name → (the device that it is, which has the minor number of major 1).
MINORS = {"null": 3, "zero": 5, "full": 7, "urandom": 9}
NODES = {
    "nvidiactl": "full",
    "nvidia-uvm": "urandom",
    "nvidia-uvm-tools": "urandom",
    "nvidia0": "null",
    "nvidia1": "zero",
}
MODELS = ("NVIDIA L4", "NVIDIA H100 80GB HBM3")
LIBRARIES = Path("usr", "lib", f"{platform.machine()}-linux-gnu")


def make(root: Path, *, nodes: Sequence[str] = tuple(NODES), version: str = VERSION, libraries: str = VERSION) -> Path:
    """The machine below `root`. version: what the kernel runs, "" for nothing; libraries: of the same, "" for none."""
    for name in nodes:
        node(root / "dev" / name, NODES[name])
    if version:
        _module(root / "proc" / "driver" / "nvidia", version)
    if libraries:
        for name in ("libcuda", "libnvidia-ml", "libnvidia-ptxjitcompiler"):
            _library(root / LIBRARIES, name, libraries)
        program = root / "usr" / "bin" / "nvidia-smi"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\necho from the driver\n")
        program.chmod(0o755)
    return root


def node(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.mknod(path, stat.S_IFCHR, os.makedev(1, MINORS[kind]))
        path.chmod(0o666)
    else:
        path.symlink_to(f"/dev/{kind}")


def divide(root: Path, instances: Sequence[int]) -> None:
    """The first GPU in parts, by MIG: two nodes for each."""
    top = root / "proc" / "driver" / "nvidia" / "capabilities" / "gpu0" / "mig"
    for number in instances:
        for folder, minor in ((top / f"gi{number}", number * 10), (top / f"gi{number}" / "ci0", number * 10 + 1)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.joinpath("access").write_text(f"DeviceFileMinor: {minor}\nDeviceFileMode: 292\n")
            node(root / "dev" / "nvidia-caps" / f"nvidia-cap{minor}", "null")


def _module(folder: Path, version: str) -> None:
    for number, model in enumerate(MODELS):
        about = folder / "gpus" / f"0000:0{number + 1}:00.0" / "information"
        about.parent.mkdir(parents=True)
        about.write_text(
            f"Model: \t\t {model}\nIRQ:   \t\t 42\nGPU UUID: \t GPU-{number}-ab\nDevice Minor: \t {number}\n"
        )
    folder.joinpath("version").write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Thu Feb 22\n")


def _library(folder: Path, name: str, version: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    real = next(found for place in ("/lib", "/usr/lib", "/lib64") for found in Path(place).rglob(_REAL_LIBRARY))
    shutil.copy(real, folder / f"{name}.so.{version}")
    folder.joinpath(f"{name}.so.1").symlink_to(f"{name}.so.{version}")
