"""NetworkPolicies of the namespace: who may talk to runtimes, and what runtimes may reach. Pure.

A policy is enforced by the cluster's network plugin, and some enforce none. None reaches the pod's own node: what that
serves on its own addresses (kubelet, host network) has to be closed there (Kubernetes, "Network Policies"). Whoever may
ask for names can also carry words out in what they ask.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from runtimes.addresses import INTERNET_V6, REFUSED_NETWORKS, REFUSED_NETWORKS_V6
from runtimes.pods import labels
from runtimes.pods.config import ClusterConfig
from runtimes.pods.labels import Manifest
from runtimes.pods.manifests import FIRST_PORT, LAST_PORT
from runtimes.provider import Network

#: Processes of the site that speak to agents and kernels.
CLIENTS = ("runtimes", "site", "worker")
_NAMESPACE = "kubernetes.io/metadata.name"
_WEB_PORTS = (80, 443)
# Services of GKE have public-looking addresses by default.
_GKE_SERVICES = "34.118.224.0/20"
_INTERNET_V4 = "0.0.0.0/0"
_LOOPBACK = "127.0.0.0/8"
# GKE, "About Workload Identity Federation for GKE": with Dataplane V2, and where policies are Calico's.
_GKE_METADATA = {"169.254.169.254": (80, 8080), "169.254.169.252": (987, 988)}


def policies(config: ClusterConfig) -> list[Manifest]:
    """Every policy of the namespace. Raises ValueError for a network that is none, or opens what stays closed."""
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    found = [
        _policy("nothing", everything, config),
        _policy("site", _from_site(config), config),
        _policy("internet", _egress(Network.INTERNET, [_names(config), *_internet(config)], config), config),
        _policy("bucket", _identity(config), config),
    ]
    if config.index is not None:
        to_index = {
            "to": [_pods(config.index.namespace, config.index.labels)],
            "ports": [{"protocol": "TCP", "port": config.index.port}],
        }
        found.append(_policy("index", _egress(Network.INDEX, [_names(config), to_index], config), config))
    return found


def _policy(name: str, spec: Manifest, config: ClusterConfig) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"pupitre-{name}", "namespace": config.namespace, "labels": labels.of_site(config)},
        "spec": spec,
    }


def _from_site(config: ClusterConfig) -> Manifest:
    """The site's own processes reach agents and kernels, and those nobody else."""
    clients = {labels.APP: labels.SITE_APP, labels.SITE: labels.value(config.site)}
    peer = _pods(config.site_namespace, clients)
    peer["podSelector"]["matchExpressions"] = [{"key": labels.COMPONENT, "operator": "In", "values": list(CLIENTS)}]
    return {
        "podSelector": {"matchLabels": labels.of_site(config)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [peer], "ports": [{"protocol": "TCP", "port": FIRST_PORT, "endPort": LAST_PORT}]}],
    }


def _egress(network: Network, rules: Sequence[Manifest], config: ClusterConfig) -> Manifest:
    chosen = {**labels.of_site(config), labels.NETWORK: str(network)}
    return {"podSelector": {"matchLabels": chosen}, "policyTypes": ["Egress"], "egress": list(rules)}


def _identity(config: ClusterConfig) -> Manifest:
    """Whoever reads a bucket asks the node's metadata server of GKE who it is, and hears of its own service account and
    no other: such pods are on nodes with that server only (`DataVolume.selector`)."""
    rules = [
        {
            "to": [{"ipBlock": {"cidr": f"{address}/32"}}],
            "ports": [{"protocol": "TCP", "port": port} for port in ports],
        }
        for address, ports in _GKE_METADATA.items()
    ]
    chosen = {**labels.of_site(config), labels.DATA: labels.BUCKET}
    return {"podSelector": {"matchLabels": chosen}, "policyTypes": ["Egress"], "egress": rules}


def _names(config: ClusterConfig) -> Manifest:
    """Names are resolved by kube-dns, by a node's own cache of it, and where else the cluster says. A plugin that leads
    what is sent to kube-dns to that cache asks whether the cache may be reached (GKE's Dataplane V2)."""
    elsewhere = [ipaddress.ip_network(text) for text in config.dns_networks]
    for network in elsewhere:
        if any(address in network for address in _METADATA):
            raise ValueError(f"names cannot be resolved in {network}: a metadata service is there")
    return {
        "to": [
            *(_pods("kube-system", {"k8s-app": name}) for name in ("kube-dns", "node-local-dns")),
            *({"ipBlock": {"cidr": str(network)}} for network in elsewhere),
        ],
        "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
    }


# AWS, Azure, Google and most others; Alibaba; Azure's second; AWS and Google over IPv6.
_METADATA = tuple(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254")
)


def _internet(config: ClusterConfig) -> list[Manifest]:
    closed_v4 = (*REFUSED_NETWORKS, _LOOPBACK, _GKE_SERVICES, *config.cluster_networks)
    closed_v6 = (*REFUSED_NETWORKS_V6, *config.cluster_networks)
    blocks = [_block(_INTERNET_V4, closed_v4), _block(INTERNET_V6, closed_v6)]
    ports = [{"protocol": "TCP", "port": port} for port in _WEB_PORTS]
    return [{"to": [{"ipBlock": block} for block in blocks], "ports": ports}]


def _block(cidr: str, closed: Sequence[str]) -> Manifest:
    """`cidr` without what of `closed` lies in it, each once: the API refuses an exception from outside."""
    whole: Any = ipaddress.ip_network(cidr)
    networks: list[Any] = [ipaddress.ip_network(text) for text in closed]
    inside = [each for each in networks if each.version == whole.version and each.subnet_of(whole)]
    return {"cidr": cidr, "except": [str(each) for each in ipaddress.collapse_addresses(inside)]}


def _pods(namespace: str, chosen: Any) -> Manifest:
    return {
        "namespaceSelector": {"matchLabels": {_NAMESPACE: namespace}},
        "podSelector": {"matchLabels": dict(chosen)},
    }
