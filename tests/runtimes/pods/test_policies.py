"""The evaluator of NetworkPolicies reads them as the API's reference does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runtimes.pods.policies import Cluster, Outside, Pod, selects

HERE, THERE = Pod("here", {"app": "db"}), Pod("there", {"app": "web"})
NEIGHBOUR = Pod("here", {"app": "web"})
WORLD = Outside("93.184.216.34")


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "here"}, "spec": {"podSelector": {}, **spec}}


def block(cidr: str, *closed: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr, "except": list(closed)}}


def test_without_policies_everything_is_open() -> None:
    assert Cluster([]).may_connect(THERE, HERE, 1)
    assert Cluster([]).may_connect(HERE, WORLD, 1)


def test_a_policy_without_rules_closes_what_it_selects_and_nothing_else() -> None:
    cluster = Cluster([policy(policyTypes=["Ingress", "Egress"])])
    assert not cluster.may_connect(THERE, HERE, 1)
    assert not cluster.may_connect(HERE, WORLD, 1)
    assert cluster.may_connect(THERE, Pod("elsewhere"), 1)


def test_without_types_egress_is_closed_only_where_it_has_rules() -> None:
    assert Cluster([policy()]).may_connect(HERE, WORLD, 1)
    assert not Cluster([policy()]).may_connect(THERE, HERE, 1)
    assert not Cluster([policy(egress=[{"to": [{"podSelector": {}}]}])]).may_connect(HERE, WORLD, 1)


def test_a_peer_by_pods_alone_is_of_the_policys_namespace() -> None:
    cluster = Cluster([policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}])])
    assert cluster.may_connect(NEIGHBOUR, HERE, 1)
    assert not cluster.may_connect(THERE, HERE, 1)


def test_selectors_in_one_peer_are_both_needed_and_in_two_peers_either() -> None:
    there = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "there"}}}
    web = {"podSelector": {"matchLabels": {"app": "web"}}}
    both = Cluster([policy(ingress=[{"from": [there | web]}])])
    either = Cluster([policy(ingress=[{"from": [there, web]}])])
    assert both.may_connect(THERE, HERE, 1)
    assert not both.may_connect(NEIGHBOUR, HERE, 1)
    assert not both.may_connect(Pod("there", {"app": "x"}), HERE, 1)
    assert either.may_connect(NEIGHBOUR, HERE, 1)
    assert either.may_connect(Pod("there", {"app": "x"}), HERE, 1)


def test_rules_and_policies_add_up_and_both_ends_have_to_agree() -> None:
    web = [{"ports": [{"port": 80}]}]
    cluster = Cluster([policy(policyTypes=["Egress"]), policy(policyTypes=["Egress"], egress=web)])
    assert cluster.may_connect(HERE, THERE, 80)
    assert not cluster.may_connect(HERE, THERE, 81)
    shut = {"metadata": {"namespace": "there"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    assert not Cluster([policy(policyTypes=["Egress"], egress=web), shut]).may_connect(HERE, THERE, 80)


def test_an_empty_list_of_peers_is_everybody() -> None:
    assert Cluster([policy(ingress=[{"from": []}])]).may_connect(WORLD, HERE, 1)
    assert Cluster([policy(ingress=[{}])]).may_connect(THERE, HERE, 1)


@pytest.mark.parametrize(
    ("port", "protocol", "open_"),
    [(99, "TCP", False), (100, "TCP", True), (105, "TCP", True), (106, "TCP", False), (100, "UDP", False)],
)
def test_ports_are_a_range_of_one_protocol(port: int, protocol: str, open_: bool) -> None:
    cluster = Cluster([policy(ingress=[{"ports": [{"port": 100, "endPort": 105}]}])])
    assert cluster.may_connect(THERE, HERE, port, protocol) is open_


@pytest.mark.parametrize(
    ("address", "open_"),
    [("93.184.216.34", True), ("10.1.2.3", False), ("10.2.0.1", True), ("2001:4860::1", False)],
)
def test_exceptions_are_taken_out_of_a_block(address: str, open_: bool) -> None:
    cluster = Cluster([policy(policyTypes=["Egress"], egress=[{"to": [block("0.0.0.0/0", "10.1.0.0/16")]}])])
    assert cluster.may_connect(HERE, Outside(address), 443) is open_


@pytest.mark.parametrize("closed", ["0.0.0.0/0", "fd00::/8", "10.0.0.0/7"])
def test_an_exception_from_outside_is_refused_as_the_api_does(closed: str) -> None:
    cluster = Cluster([policy(policyTypes=["Egress"], egress=[{"to": [block("10.0.0.0/8", closed)]}])])
    with pytest.raises(ValueError, match="outside"):
        cluster.may_connect(HERE, WORLD, 443)


@pytest.mark.parametrize(
    ("operator", "values", "web", "none"),
    [("In", ["web"], True, False), ("NotIn", ["web"], False, True), ("Exists", [], True, False),
     ("DoesNotExist", [], False, True)],
)  # fmt: skip
def test_expressions(operator: str, values: list[str], web: bool, none: bool) -> None:
    selector = {"matchExpressions": [{"key": "app", "operator": operator, "values": values}]}
    assert (selects(selector, {"app": "web"}), selects(selector, {})) == (web, none)


def test_what_is_not_understood_is_an_error_and_not_closed() -> None:
    with pytest.raises(ValueError, match="not a peer"):
        Cluster([policy(ingress=[{"from": [{"fqdns": ["x"]}]}])]).may_connect(THERE, HERE, 1)
    with pytest.raises(ValueError, match="not a selector"):
        selects({"labels": {}}, {})
