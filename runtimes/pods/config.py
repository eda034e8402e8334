"""What must be known of a cluster before pods are described for it. Pure: nothing is asked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Index:
    """A mirror of package indexes that runs in the cluster: pods with `labels` in `namespace`, on one TCP port."""

    namespace: str
    labels: Mapping[str, str]
    port: int


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One site's part of a cluster: a namespace with nothing but its runtimes.

    site: the installation that owns them; its own pods are in `site_namespace` and act as `service_account`.
    image: what runs where a profile names none, by digest; "" where each profile must.
    user_namespaces: the nodes offer `hostUsers: false` (Kubernetes user namespaces).
    policies_enforced: its network plugin was seen to enforce NetworkPolicies; many ignore them.
    cluster_networks: CIDRs of pods, services, nodes and the API server, which may be public addresses.
    index_url: where pip finds that mirror. adds_nodes: an autoscaler adds nodes, so that those of now say nothing of
    what can run. dns_networks: CIDRs where names are resolved beside kube-dns, such as a node-local cache.
    """

    site: str
    namespace: str
    site_namespace: str
    image: str = ""
    service_account: str = "pupitre"
    key_version: int = 1
    user_namespaces: bool = False
    policies_enforced: bool = False
    cluster_networks: tuple[str, ...] = ()
    dns_networks: tuple[str, ...] = ()
    index: Index | None = None
    index_url: str = ""
    adds_nodes: bool = False
