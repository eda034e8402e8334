"""What of a request sandboxes of this host cannot give: refused, where code could tell the difference."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from runtimes.machine import Gpu
from runtimes.provider import Network, NotOffered, Request
from runtimes.sandboxes import network
from runtimes.sandboxes.gpus import HostGpus

#: Why none with a GPU is kept ready.
IDLE_GPU = "sandboxes with a GPU are not kept ready: they would keep it from those who wait for one"


def check(request: Request, gpus: HostGpus) -> None:
    """Raises InvalidRequest, or NotOffered with what is lacking. Placement in a cluster (nodes, reserved cores) means
    nothing here and is passed over. gpus: what this host has."""
    request.validate()
    machine = request.machine
    lacking = {
        "images": bool(machine.image),
        "runtime classes": bool(machine.runtime_class),
        "volume of data sets": machine.data is not None,
        # A folder on this host's disk has no limit of its own, and what is written must not fill it.
        "scratch space": bool(machine.scratch_bytes),
        "package index": request.network is Network.INDEX,
    }
    for what, wanted in lacking.items():
        if wanted:
            raise NotOffered(f"local sandboxes have no {what}")
    if request.network is Network.INTERNET and (lack := network.missing()):
        raise NotOffered(lack)
    if request.gpu:
        _check_gpus(request, gpus)


def _check_gpus(request: Request, gpus: HostGpus) -> None:
    kind = request.machine.accelerator
    if not isinstance(kind, Gpu):
        raise NotOffered("local sandboxes have no TPU")
    if kind.partition:
        raise NotOffered("this host's parts of GPUs are not told apart by size: leave the partition empty")
    if not gpus.gpus:
        raise NotOffered(gpus.lack, _("This machine has no GPU that notebooks can use. Tell your teacher."))
    if request.gpu > (most := gpus.most(kind.model)):
        of = f" of the model {kind.model}" if kind.model else ""
        raise NotOffered(
            f"{request.gpu} GPUs{of} are asked for, and a runtime on this machine can have {most} (it has {gpus})",
            _("The assignment asks for more GPUs than this machine has, or for another model. Tell your teacher."),
        )
