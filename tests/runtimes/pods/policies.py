"""NetworkPolicies evaluated as data (Kubernetes API reference, NetworkPolicy v1): who may connect to whom.

Where the standard leaves something to the network plugin, this takes the more open reading: an `ipBlock` also matches
the address of a pod. So what is closed here is closed by every plugin that enforces policies. Traffic of a pod's own
node is outside policies, and of this.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]
KNOWN_PEER = {"ipBlock", "namespaceSelector", "podSelector"}


@dataclass(frozen=True)
class Pod:
    """One end of a connection, in the cluster. `address` is what an `ipBlock` is compared with."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = "10.88.7.99"


@dataclass(frozen=True)
class Outside:
    """One end of a connection that is no pod."""

    address: str


End = Pod | Outside


class Cluster:
    """Policies, and the labels of namespaces; each namespace has its automatic name label."""

    def __init__(self, policies: Iterable[Policy], namespaces: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._policies = list(policies)
        self._namespaces = namespaces or {}

    def may_connect(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        """Both ends have to allow it: the source's egress and the target's ingress."""
        out = not isinstance(source, Pod) or self._allows("Egress", source, target, port, protocol)
        into = not isinstance(target, Pod) or self._allows("Ingress", target, source, port, protocol)
        return out and into

    def _allows(self, direction: str, mine: Pod, other: End, port: int, protocol: str) -> bool:
        """Open while no policy of this direction selects the pod; else what any of them allows."""
        chosen = [
            policy
            for policy in self._policies
            if policy["metadata"]["namespace"] == mine.namespace
            and direction in _types(policy["spec"])
            and selects(policy["spec"]["podSelector"], mine.labels)
        ]
        rules = [(policy, rule) for policy in chosen for rule in policy["spec"].get(direction.lower()) or ()]
        peers = "to" if direction == "Egress" else "from"
        return not chosen or any(
            self._peers(policy, rule.get(peers), other) and _ports(rule.get("ports"), port, protocol)
            for policy, rule in rules
        )

    def _peers(self, policy: Policy, peers: list[Mapping[str, Any]] | None, other: End) -> bool:
        """No list, or an empty one, is everybody."""
        return not peers or any(self._peer(policy["metadata"]["namespace"], peer, other) for peer in peers)

    def _peer(self, home: str, peer: Mapping[str, Any], other: End) -> bool:
        if not peer or set(peer) - KNOWN_PEER:
            raise ValueError(f"not a peer: {peer}")
        if "ipBlock" in peer:
            return _in_block(peer["ipBlock"], other.address)
        if not isinstance(other, Pod):
            return False
        if "namespaceSelector" in peer:
            labels = {"kubernetes.io/metadata.name": other.namespace, **self._namespaces.get(other.namespace, {})}
            there = selects(peer["namespaceSelector"], labels)
        else:
            there = other.namespace == home
        return there and selects(peer.get("podSelector", {}), other.labels)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A LabelSelector; an empty one selects everything."""
    if set(selector) - {"matchLabels", "matchExpressions"}:
        raise ValueError(f"not a selector: {selector}")
    wanted = selector.get("matchLabels", {}).items()
    return all(labels.get(key) == value for key, value in wanted) and all(
        _expression(each, labels) for each in selector.get("matchExpressions", ())
    )


def _expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values", ())
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[operator]


def _types(spec: Mapping[str, Any]) -> list[str]:
    """Without the field: Ingress always, Egress where there are rules of it."""
    return list(spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])])


def _ports(ports: list[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    return not ports or any(
        each.get("protocol", "TCP") == protocol
        and ("port" not in each or each["port"] <= port <= each.get("endPort", each["port"]))
        for each in ports
    )


def _in_block(block: Mapping[str, Any], address: str) -> bool:
    """Raises ValueError for a block that the API would refuse: an exception has to lie inside."""
    whole, one = ipaddress.ip_network(block["cidr"]), ipaddress.ip_address(address)
    closed = [ipaddress.ip_network(text) for text in block.get("except", ())]
    if any(each.version != whole.version or each == whole or not each.subnet_of(whole) for each in closed):
        raise ValueError(f"an exception lies outside: {block}")
    return one in whole and not any(one in each for each in closed)
