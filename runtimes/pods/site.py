"""The cluster as Django's settings describe it."""

from __future__ import annotations

from django.conf import settings

from runtimes.pods.config import ClusterConfig


def config() -> ClusterConfig:
    """Of this site."""
    return ClusterConfig(
        site=settings.PODS_SITE,
        namespace=settings.PODS_NAMESPACE,
        site_namespace=settings.PODS_SITE_NAMESPACE,
        image=settings.PODS_IMAGE,
        key_version=settings.MASTER_KEY_VERSION,
        user_namespaces=settings.PODS_USER_NAMESPACES,
        policies_enforced=settings.PODS_POLICIES_ENFORCED,
        index_url=settings.PODS_INDEX_URL,
        adds_nodes=settings.PODS_ADDS_NODES,
    )
