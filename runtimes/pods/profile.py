"""What a profile says about pods and no other provider: image, accelerator, where it may be placed. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from runtimes.provider import InvalidRequest, Request

_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]*@(sha256:[0-9a-f]{64})")
_TOPOLOGY = re.compile(r"\d+(x\d+)+")


@dataclass(frozen=True, slots=True)
class Gpu:
    """NVIDIA GPUs, chosen on GKE by node labels ("" for any; elsewhere `PodProfile.node_selector` says where).

    model: such as nvidia-l4. partition: a part of one by MIG, such as 1g.5gb. sharing: several pods on one, at most
    `clients`; their memory is not kept apart."""

    resource: ClassVar[str] = "nvidia.com/gpu"
    model: str = ""
    partition: str = ""
    sharing: Literal["", "time-sharing", "mps"] = ""
    clients: int = 0

    def selector(self) -> dict[str, str]:
        """Labels of nodes that have it."""
        labels = {
            "cloud.google.com/gke-accelerator": self.model,
            "cloud.google.com/gke-gpu-partition-size": self.partition,
            "cloud.google.com/gke-gpu-sharing-strategy": self.sharing,
            "cloud.google.com/gke-max-shared-clients-per-gpu": str(self.clients or ""),
        }
        return {key: text for key, text in labels.items() if text}

    def refusal(self, count: int, purpose: str) -> str:
        """Why `count` of them cannot be had for `purpose`; "" if they can."""
        if (self.partition or self.sharing) and count != 1:
            return "a part of a GPU, or a shared one, is asked for alone"
        if self.sharing and purpose == "grading":
            return "grading never shares a GPU: its memory would not be its own"
        if bool(self.sharing) != (self.clients > 1):
            return "a shared GPU needs a number of clients above one, and no other has it"
        return ""


@dataclass(frozen=True, slots=True)
class Tpu:
    """Google TPUs of one host. model: such as tpu-v6e-slice. topology: such as 2x2, which is four chips."""

    resource: ClassVar[str] = "google.com/tpu"
    model: str
    topology: str

    def selector(self) -> dict[str, str]:
        """Labels of nodes that have it."""
        return {
            "cloud.google.com/gke-tpu-accelerator": self.model,
            "cloud.google.com/gke-tpu-topology": self.topology,
        }

    def refusal(self, count: int, _purpose: str) -> str:
        """Why `count` chips cannot be had; "" if they can."""
        if not self.model or not _TOPOLOGY.fullmatch(self.topology):
            return f"a TPU needs a model and a topology such as 2x2, not {self.model!r} and {self.topology!r}"
        chips = math.prod(int(side) for side in self.topology.split("x"))
        return "" if chips == count else f"a topology of {self.topology} is {chips} chips in one pod, not {count}"


@dataclass(frozen=True, slots=True)
class PodProfile:
    """The pod-side settings of a profile; limits, network and lifetime are the request's.

    image: by digest, so that everyone gets the same. cpu_request: cores reserved for it, at most its limit.
    scratch_bytes: room on the node's disk, mounted at /scratch; 0 for none."""

    slug: str
    image: str
    accelerator: Gpu | Tpu | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    runtime_class: str = ""
    cpu_request: float = 0.1
    scratch_bytes: int = 0

    @property
    def environment(self) -> str:
        """The image's digest, which is the environment's."""
        return self.image.rpartition("@")[2]

    def check(self, request: Request) -> None:
        """Raises InvalidRequest with the first thing of this profile that no cluster can run for `request`."""
        if not _IMAGE.fullmatch(self.image):
            raise InvalidRequest(f"an image is named by its digest, name@sha256:…, not {self.image!r}")
        if self.cpu_request <= 0 or self.scratch_bytes < 0:
            raise InvalidRequest("reserved cores must be above 0, and scratch not below")
        if bool(request.gpu) != (self.accelerator is not None):
            raise InvalidRequest(f"{request.gpu} GPUs or TPUs were asked for of {self.accelerator or 'no kind'}")
        if self.accelerator is not None and (why := self.accelerator.refusal(request.gpu, request.purpose)):
            raise InvalidRequest(why)

    def accelerators(self, count: int) -> dict[str, str]:
        """Resources of so many of its accelerator."""
        return {self.accelerator.resource: str(count)} if self.accelerator is not None else {}

    def placement(self) -> dict[str, Any]:
        """Which nodes it may run on, and as what: fields of a pod's spec. What the profile says itself goes before the
        labels of GKE."""
        selector = {**(self.accelerator.selector() if self.accelerator else {}), **self.node_selector}
        tolerations = [dict(one) for one in self.tolerations]
        if self.accelerator is not None:
            tolerations.append({"key": self.accelerator.resource, "operator": "Exists", "effect": "NoSchedule"})
        fields = {"nodeSelector": selector, "tolerations": tolerations, "runtimeClassName": self.runtime_class}
        return {name: chosen for name, chosen in fields.items() if chosen}
