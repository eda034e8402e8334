"""What of a request sandboxes of this host cannot give: refused, where code could tell the difference."""

from __future__ import annotations

from runtimes.provider import Network, NotOffered, Request
from runtimes.sandboxes import network


def check(request: Request) -> None:
    """Raises InvalidRequest, or NotOffered with what is lacking. Placement in a cluster (nodes, reserved cores) means
    nothing here and is passed over."""
    request.validate()
    machine = request.machine
    lacking = {
        "GPU": bool(request.gpu),
        "images": bool(machine.image),
        "runtime classes": bool(machine.runtime_class),
        "volume of data sets": machine.data is not None,
        "package index": request.network is Network.INDEX,
    }
    for what, wanted in lacking.items():
        if wanted:
            raise NotOffered(f"local sandboxes have no {what}")
    if request.network is Network.INTERNET and (lack := network.missing()):
        raise NotOffered(lack)
