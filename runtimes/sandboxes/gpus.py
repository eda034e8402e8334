"""NVIDIA GPUs of this host, found by looking at files: device nodes, what the kernel's module says of itself in /proc,
and the driver's libraries. Nothing of the driver is run or loaded here.

python -m runtimes.sandboxes.gpus   tells an administrator what is found, or what is lacking and what to do.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from runtimes.sandboxes.gpu_driver import Driver, find_driver

if TYPE_CHECKING:
    from runtimes.sandboxes.config import SandboxConfig

EVERY, NO = "", "none"
_CONTROL, _MEMORY = "/dev/nvidiactl", "/dev/nvidia-uvm"
#: Nodes that every process with a GPU opens; the last two only some do.
_COMMON = (_CONTROL, _MEMORY, "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")
_NODE = re.compile(r"nvidia(\d+)")
_CAPABILITY = re.compile(r"^DeviceFileMinor: *(\d+)", re.MULTILINE)
_FACT = re.compile(r"^([A-Za-z ]+): *\t* *(.*?) *$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class HostGpu:
    """One GPU, or a part of one by MIG: what a runtime can have. name: the number in /dev/nvidia0, and for a part its
    GPU instance and compute instance, 0:1/0. nodes: those that are its own."""

    name: str
    nodes: tuple[str, ...]
    model: str = ""
    uuid: str = ""
    part: bool = False

    @property
    def number(self) -> str:
        """Of the whole GPU."""
        return self.name.partition(":")[0]

    def is_a(self, model: str) -> bool:
        """Whether it is of this model, as a profile says it: `nvidia-l4`, `h100` and `NVIDIA A100-SXM4-40GB` all do."""
        return set(_words(model)) <= set(_words(self.model))


@dataclass(frozen=True, slots=True)
class HostGpus:
    """All that runtimes may have. lack: why there is none and what to do, for operators; "" where there are some."""

    gpus: tuple[HostGpu, ...] = ()
    lack: str = "this machine has no NVIDIA GPU, or no driver for it"
    #: Nodes beside a GPU's own.
    common: tuple[str, ...] = ()
    driver: Driver = field(default_factory=Driver)
    root: Path = Path("/")

    def of(self, model: str) -> list[HostGpu]:
        """Those of a model; all where none is named."""
        return [gpu for gpu in self.gpus if gpu.is_a(model)]

    def most(self, model: str) -> int:
        """How many of them one runtime can have: parts of a GPU are had one at a time (CUDA uses no more)."""
        found = self.of(model)
        return max(sum(not gpu.part for gpu in found), min(1, len(found)))

    def __str__(self) -> str:
        return _listed(self.gpus) or self.lack


def configured(config: SandboxConfig) -> HostGpus:
    """Those that the site's sandboxes can use. Blocks."""
    return find(uid=config.uid, chosen=config.gpus, root=config.gpu_root)


def find(*, uid: int, chosen: str = EVERY, root: Path = Path("/")) -> HostGpus:
    """The GPUs that sandboxes run by `uid` can use. chosen: their numbers, `0,2`; "" for all, "none" for none. root:
    where to look instead of /, for tests."""
    if chosen == NO:
        return HostGpus(lack="GPUS=none: runtimes get no GPU of this machine", root=root)
    every = list(_gpus(root))
    driver = find_driver(root)
    if not (every or driver.kernel_version or driver.has_cuda):
        return HostGpus(root=root)
    names = {each.strip() for each in chosen.split(",") if each.strip()}
    found = [gpu for gpu in every if not names or gpu.number in names]
    common = tuple(node for node in _COMMON if _is_node(root, node))
    if unknown := names - {gpu.number for gpu in every}:
        lack = f"GPUS names {', '.join(sorted(unknown))}, and this machine has {_listed(every) or 'none'}"
    else:
        lack = next(chain(_node_lacks(every, common, driver), _library_lacks(driver)), "")
        lack = lack or _part_lack(found, root) or _forbidden(found, common, uid, root)
    return HostGpus(() if lack else tuple(found), lack, common, driver, root)


def _gpus(root: Path) -> Iterator[HostGpu]:
    about = {facts.get("Device Minor", ""): facts for facts in _facts(root)}
    numbers = sorted(int(found[1]) for each in _names(root, "/dev") if (found := _NODE.fullmatch(each)))
    for number in numbers:
        node = f"/dev/nvidia{number}"
        if not _is_node(root, node):
            continue
        facts = about.get(str(number), {})
        model, uuid = facts.get("Model", ""), facts.get("GPU UUID", "")
        # A GPU that nothing has used since the start of the machine does not tell its number.
        whole = HostGpu(str(number), (node,), model, "" if "?" in uuid else uuid)
        yield from list(_parts(root, whole)) or [whole]


def _parts(root: Path, whole: HostGpu) -> Iterator[HostGpu]:
    """The compute instances of a GPU that is divided by MIG."""
    top = f"/proc/driver/nvidia/capabilities/gpu{whole.name}/mig"
    for instance in _numbered(root, top, "gi"):
        for compute in _numbered(root, f"{top}/gi{instance}", "ci"):
            minors = [_minor(root, f"{top}/gi{instance}{below}/access") for below in ("", f"/ci{compute}")]
            nodes = tuple(f"/dev/nvidia-caps/nvidia-cap{minor}" for minor in minors)
            name = f"{whole.name}:{instance}/{compute}"
            yield HostGpu(name, (*whole.nodes, *nodes), whole.model, whole.uuid, part=True)


def _facts(root: Path) -> Iterator[dict[str, str]]:
    folder = "/proc/driver/nvidia/gpus"
    for bus in _names(root, folder):
        yield dict(_FACT.findall(_text(root, f"{folder}/{bus}/information")))


def _node_lacks(every: Sequence[HostGpu], common: Sequence[str], driver: Driver) -> Iterator[str]:
    at_start = "as root at every start of the machine"
    if not every and not driver.kernel_version:
        yield (
            "the driver's libraries are there, but its kernel module is not loaded: run “modprobe nvidia” as root and "
            "look at the messages of dmesg"
        )
    if not every:
        yield f"the driver's kernel module runs, but there is no /dev/nvidia0: run “nvidia-modprobe -c 0” {at_start}"
    if _CONTROL not in common:
        yield f"{_CONTROL} is missing: run “nvidia-modprobe” {at_start}"
    if _MEMORY not in common:
        yield f"{_MEMORY} is missing, without which CUDA does not start: run “nvidia-modprobe -u” {at_start}"


def _part_lack(found: Sequence[HostGpu], root: Path) -> str:
    """The driver makes these nodes only for programs that ask for them as root."""
    for gpu in found:
        for node in gpu.nodes:
            if not _is_node(root, node):
                return (
                    f"{node} is missing, which opens a part of GPU {gpu.number}: run “nvidia-modprobe -f FILE” as root "
                    "at every start of the machine, for each file “access” below "
                    f"/proc/driver/nvidia/capabilities/gpu{gpu.number}/mig"
                )
    return ""


def _library_lacks(driver: Driver) -> Iterator[str]:
    kernels, libraries = driver.kernel_version, driver.library_version
    if driver.missing:
        wanted = f" of version {kernels}" if kernels else ""
        yield f"the driver's libraries are missing ({', '.join(driver.missing)}): install them{wanted}"
    if kernels and libraries and kernels != libraries:
        yield f"the kernel runs driver {kernels}, and the libraries are of {libraries}: restart the machine"


def _forbidden(found: Sequence[HostGpu], common: Sequence[str], uid: int, root: Path) -> str:
    """The first node that sandboxes may not open."""
    for node in (*common, *(node for gpu in found for node in gpu.nodes)):
        # A capability is asked for by opening its node, which has nothing to be written.
        wanted = 0o4 if "/nvidia-caps/" in node else 0o6
        if not _may(_at(root, node), uid, wanted):
            return (
                f"the sandboxes' user (uid {uid}) may not open {node}: load the driver's module with "
                "NVreg_DeviceFileMode=0666, which is its default"
            )
    return ""


def _may(path: Path, uid: int, wanted: int) -> bool:
    if os.geteuid() != 0:
        # Sandboxes are this user's, with the user's groups.
        return os.access(path, os.R_OK | (os.W_OK if wanted & 0o2 else 0))
    seen = path.stat()
    return seen.st_mode & wanted == wanted or (seen.st_uid == uid and (seen.st_mode >> 6) & wanted == wanted)


def _listed(gpus: Sequence[HostGpu]) -> str:
    return ", ".join(f"{gpu.name} ({gpu.model or 'unknown model'})" for gpu in gpus)


def _words(model: str) -> list[str]:
    return [word for word in re.findall(r"[a-z0-9]+", model.lower()) if word not in {"nvidia", "tesla"}]


def _at(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _is_node(root: Path, path: str) -> bool:
    try:
        return stat.S_ISCHR(_at(root, path).stat().st_mode)
    except OSError:
        return False


def _names(root: Path, folder: str) -> list[str]:
    try:
        return sorted(path.name for path in _at(root, folder).iterdir())
    except OSError:
        return []


def _numbered(root: Path, folder: str, prefix: str) -> list[int]:
    found = (re.fullmatch(rf"{prefix}(\d+)", name) for name in _names(root, folder))
    return sorted(int(each[1]) for each in found if each)


def _minor(root: Path, path: str) -> str:
    found = _CAPABILITY.search(_text(root, path))
    return found[1] if found else ""


def _text(root: Path, path: str) -> str:
    try:
        return _at(root, path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def main() -> int:
    """One line: the GPUs, or what is lacking (and 1)."""
    uid = os.geteuid() or int(os.environ.get("SANDBOX_UID", "4242"))
    found = find(uid=uid, chosen=os.environ.get("GPUS", EVERY))
    print(found)
    return 0 if found.gpus else 1


if __name__ == "__main__":
    sys.exit(main())
