"""What kind of machine a profile asks for, beside limits: image, accelerator, placement, disk, data. Pure.

Much of it only a cluster has; a provider refuses what it lacks where code could tell the difference.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from runtimes.provider_errors import InvalidRequest

if TYPE_CHECKING:
    from runtimes.provider import Request

_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]*@(sha256:[0-9a-f]{64})")
_TOPOLOGY = re.compile(r"\d+(x\d+)+")
# Chips of the largest host whose topologies have so many dimensions (GKE, "Plan TPUs": ct5lp-hightpu-8t and
# ct6e-standard-8t; ct4p-hightpu-4t, ct5p-hightpu-4t and tpu7x-standard-4t).
_MOST_CHIPS = {2: 8, 3: 4}


def image_digest(image: str) -> str:
    """The digest in `name@sha256:…`; "" where an image is not named so."""
    found = _IMAGE.fullmatch(image)
    return found[1] if found else ""


def topology_chips(topology: str) -> int:
    """How many chips a TPU topology such as 2x2 has; 0 for what is none."""
    return math.prod(int(side) for side in topology.split("x")) if _TOPOLOGY.fullmatch(topology) else 0


def spans_hosts(topology: str) -> bool:
    """Whether a TPU topology is more than one host has, and so more than one pod."""
    return topology_chips(topology) > _MOST_CHIPS.get(topology.count("x") + 1, 0)


@dataclass(frozen=True, slots=True)
class Gpu:
    """NVIDIA GPUs, chosen on GKE by node labels ("" for any; elsewhere `Machine.node_selector` says where).

    model: such as nvidia-l4. partition: a part of one by MIG, such as 1g.5gb. sharing: several pods on one, at most
    `clients`; their memory is not kept apart. There is no sharing by MPS: its clients speak to the node's daemon over
    the host's IPC (GKE, "Share GPUs with NVIDIA MPS"), which Pod Security `restricted` keeps from pods."""

    resource: ClassVar[str] = "nvidia.com/gpu"
    #: Label of nodes that say of each of their GPUs that so many share it.
    clients_label: ClassVar[str] = "cloud.google.com/gke-max-shared-clients-per-gpu"
    model: str = ""
    partition: str = ""
    sharing: Literal["", "time-sharing"] = ""
    clients: int = 0

    def selector(self) -> dict[str, str]:
        """Labels of nodes that have it."""
        labels = {
            "cloud.google.com/gke-accelerator": self.model,
            "cloud.google.com/gke-gpu-partition-size": self.partition,
            "cloud.google.com/gke-gpu-sharing-strategy": self.sharing,
            self.clients_label: str(self.clients or ""),
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
        chips = topology_chips(self.topology)
        if not self.model or not chips:
            return f"a TPU needs a model and a topology such as 2x2, not {self.model!r} and {self.topology!r}"
        if spans_hosts(self.topology):
            return (
                f"a topology of {self.topology} is spread over several hosts, and a runtime is one pod on one of them"
            )
        return "" if chips == count else f"a topology of {self.topology} is {chips} chips in one pod, not {count}"


@dataclass(frozen=True, slots=True)
class DataVolume:
    """Data sets, read-only at /data: a PersistentVolumeClaim, or a bucket of Google Cloud Storage that the service
    account may read (GKE, Cloud Storage FUSE) and that is reached over the network."""

    claim: str = ""
    bucket: str = ""
    service_account: str = ""

    def refusal(self, network: str) -> str:
        """Why it cannot be had in this network; "" if it can."""
        if bool(self.claim) == bool(self.bucket):
            return "data comes from a volume claim or from a bucket, and from one of them"
        if bool(self.bucket) != bool(self.service_account):
            return "a bucket is read as a service account that may read it, and nothing else has one"
        if self.bucket and network != "internet":
            return "a bucket is reached over the internet: use a volume claim where the profile has none"
        return ""

    def selector(self) -> dict[str, str]:
        """Labels of nodes where it can be had. A bucket is read as a service account for which the node's metadata
        server vouches; where that is not GKE's it would tell of the node's own account."""
        return {"iam.gke.io/gke-metadata-server-enabled": "true"} if self.bucket else {}


@dataclass(frozen=True, slots=True)
class Machine:
    """What a profile asks for of the machine; limits, network and lifetime are the request's.

    slug: the profile's. image: by digest, so that everyone gets the same; "" for the provider's own. cpu_request: cores
    reserved for it, at most its limit. scratch_bytes: room on the machine's disk, at /scratch; 0 for none."""

    slug: str = ""
    image: str = ""
    accelerator: Gpu | Tpu | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    runtime_class: str = ""
    cpu_request: float = 0.1
    scratch_bytes: int = 0
    data: DataVolume | None = None

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        kind = "tpu" if isinstance(self.accelerator, Tpu) else "gpu"
        return {**asdict(self), "kind": kind}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for a foreign document."""
        fields = dict(data)
        kind = {"gpu": Gpu, "tpu": Tpu}[fields.pop("kind")]
        told, volume = fields["accelerator"], fields["data"]
        fields["accelerator"] = None if told is None else kind(**told)
        fields["data"] = None if volume is None else DataVolume(**volume)
        fields["tolerations"] = tuple(fields["tolerations"])
        return cls(**fields)

    def check(self, request: Request) -> None:
        """Raises InvalidRequest with the first thing of this machine that nobody can run for `request`."""
        if self.image and not image_digest(self.image):
            raise InvalidRequest(f"an image is named by its digest, name@sha256:…, not {self.image!r}")
        if self.cpu_request <= 0 or self.scratch_bytes < 0:
            raise InvalidRequest("reserved cores must be above 0, and scratch not below")
        if bool(request.gpu) != (self.accelerator is not None):
            raise InvalidRequest(f"{request.gpu} GPUs or TPUs were asked for of {self.accelerator or 'no kind'}")
        if self.accelerator is not None and (why := self.accelerator.refusal(request.gpu, request.purpose)):
            raise InvalidRequest(why)
        if self.data is not None and (why := self.data.refusal(request.network)):
            raise InvalidRequest(why)

    def accelerators(self, count: int) -> dict[str, str]:
        """Resources of so many of its accelerator."""
        return {self.accelerator.resource: str(count)} if self.accelerator is not None else {}

    def placement(self) -> dict[str, Any]:
        """Which nodes it may run on, and as what: fields of a pod's spec. What the profile says itself goes before the
        labels of GKE, but for those of a bucket's nodes."""
        accelerator = self.accelerator.selector() if self.accelerator else {}
        selector = {**accelerator, **self.node_selector, **(self.data.selector() if self.data else {})}
        tolerations = [dict(one) for one in self.tolerations]
        if self.accelerator is not None:
            tolerations.append({"key": self.accelerator.resource, "operator": "Exists", "effect": "NoSchedule"})
        fields = {"nodeSelector": selector, "tolerations": tolerations, "runtimeClassName": self.runtime_class}
        return {name: chosen for name, chosen in fields.items() if chosen}
