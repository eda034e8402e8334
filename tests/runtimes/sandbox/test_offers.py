"""What a profile asks for and one host has not: refused where code could tell, passed over where it could not."""

from __future__ import annotations

import pytest

from runtimes.machine import DataVolume, Gpu, Machine
from runtimes.provider import Network, NotOffered, Request
from runtimes.sandboxes import offers
from runtimes.sandboxes.gpus import HostGpus


@pytest.mark.parametrize(
    ("request_", "lacking"),
    [
        (Request("a", gpu=1, machine=Machine(accelerator=Gpu())), "no NVIDIA GPU"),
        (Request("a", machine=Machine(image=f"kernel@sha256:{'ab' * 32}")), "images"),
        (Request("a", machine=Machine(runtime_class="gvisor")), "runtime classes"),
        (Request("a", machine=Machine(data=DataVolume("sets"))), "data sets"),
        (Request("a", machine=Machine(scratch_bytes=1 << 30)), "scratch space"),
        (Request("a", network=Network.INDEX), "package index"),
    ],
)
def test_what_code_would_miss_is_refused(request_: Request, lacking: str) -> None:
    with pytest.raises(NotOffered, match=lacking):
        offers.check(request_, HostGpus())


def test_where_a_cluster_would_put_it_is_passed_over() -> None:
    machine = Machine("lab", node_selector={"room": "b12"}, tolerations=({"key": "lab"},), cpu_request=0.5)
    offers.check(Request("a", machine=machine), HostGpus())
