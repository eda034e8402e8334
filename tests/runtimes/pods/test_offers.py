"""How many accelerators a cluster has, from its nodes as the API gives them. Pure."""

from __future__ import annotations

from typing import Any

from runtimes.models import Profile
from runtimes.pods.offers import count


def node(its_labels: dict[str, str] | None = None, **has: str) -> dict[str, Any]:
    allocatable = {name.replace("_", ".com/"): number for name, number in has.items()}
    return {"metadata": {"labels": its_labels or {}}, "status": {"allocatable": {"cpu": "8", **allocatable}}}


def test_gpus_and_tpus_of_all_nodes_are_counted() -> None:
    assert count([node(), node(nvidia_gpu="2"), node(google_tpu="4"), {"metadata": {}, "status": {}}]) == 6


def test_a_gpu_that_four_share_counts_once_as_those_who_have_it_together_do() -> None:
    """A node of GKE with two such GPUs offers eight."""
    label = "cloud.google.com/gke-max-shared-clients-per-gpu"
    assert count([node({label: "4"}, nvidia_gpu="8"), node(nvidia_gpu="1")]) == 3
    shared = Profile(gpu=1, accelerator_sharing="time-sharing", accelerator_clients=4)
    assert 8 * shared.accelerators == count([node({label: "4"}, nvidia_gpu="8")])
