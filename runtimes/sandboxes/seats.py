"""Who has which GPU: one runtime each, or several where their profiles share it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from runtimes.agent.kernel import base_environment
from runtimes.machine import Gpu
from runtimes.provider import Request
from runtimes.sandboxes.gpus import HostGpu, HostGpus

#: Where a sandbox has the driver's libraries and programs.
FOLDER = "/opt/pupitre/gpu"


@dataclass(eq=False)
class Hold:
    """GPUs that one runtime has, until `release`. begun: whoever starts it releases it, whatever comes of that."""

    gpus: tuple[HostGpu, ...]
    found: HostGpus
    shared: bool
    begun: bool = False
    _give_back: Callable[[], None] = field(default=lambda: None, repr=False)

    def release(self) -> None:
        """Others may have them. From any thread; only the first time counts."""
        give_back, self._give_back = self._give_back, lambda: None
        give_back()

    @property
    def nodes(self) -> list[tuple[Path, str]]:
        """Device nodes: (on the host, in the sandbox)."""
        names = dict.fromkeys((*self.found.common, *(node for gpu in self.gpus for node in gpu.nodes)))
        return [(self.found.root / name.lstrip("/"), name) for name in names]

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of every process in there. CUDA counts what it can open, from 0; the other variable names them as
        the host knows them. The driver's own files come before what of another driver may lie below /usr."""
        base = base_environment()
        return {
            "CUDA_VISIBLE_DEVICES": ",".join(str(number) for number in range(len(self.gpus))),
            "NVIDIA_VISIBLE_DEVICES": ",".join(gpu.name if gpu.part else gpu.uuid or gpu.name for gpu in self.gpus),
            "LD_LIBRARY_PATH": f"{FOLDER}/lib:{base['LD_LIBRARY_PATH']}",
            "PATH": f"{FOLDER}/bin:{base['PATH']}",
        }

    def arguments(self) -> list[str]:
        """bubblewrap's, after its --dev and before anything is remounted."""
        driver = self.found.driver
        made = [word for host, inside in self.nodes for word in ("--dev-bind", str(host), inside)]
        for folder, files in (("lib", driver.files), ("bin", driver.programs)):
            for name, path in files.items():
                made += ["--ro-bind", str(path), f"{FOLDER}/{folder}/{name}"]
        for name, target in driver.links.items():
            made += ["--symlink", target, f"{FOLDER}/lib/{name}"]
        # How processors and memory lie to each other, which CUDA looks up.
        return [*made, "--ro-bind-try", "/sys/devices/system", "/sys/devices/system"]


class Seats:
    """Counts them. freed: called on the event loop when somebody let one go."""

    def __init__(self, found: HostGpus, freed: Callable[[], None]) -> None:
        self.found = found
        self._freed = freed
        self._taken = {gpu.name: Fraction(0) for gpu in found.gpus}

    def take(self, request: Request) -> Hold | None:
        """So many GPUs as the request asks for, or None as long as others have them."""
        kind = request.machine.accelerator
        share = Fraction(1, kind.clients) if isinstance(kind, Gpu) and kind.sharing else Fraction(1)
        model = kind.model if isinstance(kind, Gpu) else ""
        free = [gpu for gpu in self.found.of(model) if self._taken[gpu.name] + share <= 1]
        if request.gpu > 1:
            free = [gpu for gpu in free if not gpu.part]
        if len(free) < request.gpu:
            return None
        # Who shares goes where others share already: a whole one stays free for longer.
        chosen = tuple(sorted(free, key=lambda gpu: -self._taken[gpu.name])[: request.gpu])
        for gpu in chosen:
            self._taken[gpu.name] += share
        loop = asyncio.get_running_loop()

        def give_back() -> None:
            loop.call_soon_threadsafe(self._let_go, chosen, share)

        return Hold(chosen, self.found, share < 1, _give_back=give_back)

    def _let_go(self, gpus: tuple[HostGpu, ...], share: Fraction) -> None:
        for gpu in gpus:
            self._taken[gpu.name] -= share
        self._freed()
