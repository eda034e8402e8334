"""The NVIDIA driver's files: which version the kernel runs, and the libraries and programs that go with it."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: What CUDA and NVML load, by the driver's own names; graphics are left out. The first two make a driver.
_NEEDED = ("libcuda", "libnvidia-ml")
_LIBRARIES = (
    *_NEEDED,
    *("libcudadebugger", "libnvidia-ptxjitcompiler", "libnvidia-nvvm", "libnvidia-nvvm70", "libnvidia-gpucomp"),
    *("libnvidia-cfg", "libnvidia-allocator", "libnvidia-opencl", "libnvidia-compiler", "libnvidia-fatbinaryloader"),
    *("libnvidia-pkcs11", "libnvidia-pkcs11-openssl3", "libnvidia-sandboxutils"),
    *("libnvcuvid", "libnvidia-encode", "libnvidia-opticalflow"),
)
_PROGRAMS = ("nvidia-smi", "nvidia-debugdump")
#: Where distributions and hosting companies put the libraries; the loader's cache is asked first.
_FOLDERS = (
    f"usr/lib/{platform.machine()}-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/local/nvidia/lib64",
    "run/opengl-driver/lib",
    "home/kubernetes/bin/nvidia/lib64",
)
_PROGRAM_FOLDERS = ("usr/bin", "usr/local/bin", "usr/local/nvidia/bin", "run/current-system/sw/bin", "opt/bin")
_CACHE_WORDS = {"x86_64": "x86-64", "aarch64": "AArch64"}
_CACHED = re.compile(r"^\s*(\S+) \(([^)]*)\) => (/\S+)$", re.MULTILINE)
_VERSION = re.compile(r"\b(\d{3}\.\d+(?:\.\d+)?)\b")


@dataclass(frozen=True, slots=True)
class Driver:
    """files: the libraries by the name of their file. links: their other names → the name of the file."""

    kernel_version: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, Path] = field(default_factory=dict)
    missing: tuple[str, ...] = tuple(f"{name}.so.1" for name in _NEEDED)

    @property
    def has_cuda(self) -> bool:
        """CUDA's own library is there."""
        return f"{_NEEDED[0]}.so.1" not in self.missing

    @property
    def library_version(self) -> str:
        """As the name of CUDA's library says it; "" where it does not."""
        for name in self.files:
            if found := re.fullmatch(rf"{_NEEDED[0]}\.so\.({_VERSION.pattern})", name):
                return found[1]
        return ""


def find_driver(root: Path) -> Driver:
    """Whatever of a driver there is below `root`."""
    files: dict[str, Path] = {}
    links: dict[str, str] = {}
    for path in _libraries(root):
        real = path.resolve()
        files.setdefault(real.name, real)
        if path.name != real.name:
            links.setdefault(path.name, real.name)
    there = files.keys() | links.keys()
    missing = tuple(f"{name}.so.1" for name in _NEEDED if f"{name}.so.1" not in there)
    return Driver(_kernel_version(root), files, links, dict(_programs(root)), missing)


def _kernel_version(root: Path) -> str:
    try:
        found = _VERSION.search((root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def _libraries(root: Path) -> Iterator[Path]:
    """Each library by all its names, out of the first folder that has it."""
    folders = list(dict.fromkeys((*_cached_folders(root), *(root / folder for folder in _FOLDERS))))
    for name in _LIBRARIES:
        for folder in folders:
            if found := [path for path in sorted(folder.glob(f"{name}.so*")) if path.is_file()]:
                yield from found
                break


def _cached_folders(root: Path) -> Iterable[Path]:
    """Folders in which the loader's cache has CUDA's or NVML's library for this machine's processor."""
    program = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")
    cache = root / "etc/ld.so.cache"
    if program is None or not cache.is_file():
        return ()
    listing = subprocess.run([program, "-C", cache, "-p"], capture_output=True, text=True, check=False).stdout
    return dict.fromkeys(root / folder for folder in cached_folders(listing, platform.machine()))


def cached_folders(listing: str, machine: str) -> list[str]:
    """Of `ldconfig -p`, for a processor: folders of the driver's libraries, relative to the root."""
    wanted = _CACHE_WORDS.get(machine, machine)
    needed = {f"{name}.so.1" for name in _NEEDED}
    found = (Path(path).parent for name, kind, path in _CACHED.findall(listing) if name in needed and wanted in kind)
    return list(dict.fromkeys(str(folder).lstrip("/") for folder in found))


def _programs(root: Path) -> Iterator[tuple[str, Path]]:
    for name in _PROGRAMS:
        for folder in _PROGRAM_FOLDERS:
            if (path := root / folder / name).is_file():
                yield name, path.resolve()
                break
