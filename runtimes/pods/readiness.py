"""Whether the cluster is fit for runtimes, asked once at the start; what is wrong is said in a sentence."""

from __future__ import annotations

import asyncio

from runtimes.machine import Machine
from runtimes.pods import labels, manifests, quotas
from runtimes.pods.cluster import Cluster, Refused
from runtimes.pods.config import ClusterConfig
from runtimes.provider import ProviderUnavailable, Request

#: All that the provider does; `namespace.role` grants these and nothing else.
NEEDED = (
    *(("pods", verb) for verb in ("create", "get", "list", "watch", "patch", "delete")),
    ("secrets", "create"),
)
# No image is fetched for a question.
_ANY_IMAGE = f"registry.invalid/kernel@sha256:{'0' * 64}"


async def check(cluster: Cluster, config: ClusterConfig) -> None:
    """Raises ProviderUnavailable with what an administrator has to do."""
    allowed = await asyncio.gather(*(cluster.allowed(verb, resource) for resource, verb in NEEDED))
    lacking = [f"{verb} {resource}" for (resource, verb), may in zip(NEEDED, allowed, strict=True) if not may]
    if lacking:
        raise ProviderUnavailable(
            f"namespace {config.namespace}: the site's service account may not {', '.join(lacking)}; grant its Role"
        )
    usual = Request("question", machine=Machine(image=config.image or _ANY_IMAGE))
    try:
        await cluster.create(manifests.pod(usual, config, name=labels.new_name()), dry_run=True)
    except Refused as refusal:
        if refusal.code == 404:
            raise ProviderUnavailable(f"there is no namespace {config.namespace}: make it (PODS_NAMESPACE)") from None
        if not quotas.exceeded(refusal.message):
            raise ProviderUnavailable(
                f"namespace {config.namespace} takes no runtimes as we make them: {refusal.message}"
            ) from None
