"""Who may talk to runtimes and what they may reach, proven on the policies as data, with the pods' own labels.

Whether a cluster enforces policies is another question, which no test here answers.
"""

from __future__ import annotations

import copy
import ipaddress
from dataclasses import replace
from typing import Any

import pytest

from runtimes.machine import DataVolume
from runtimes.pods import manifests, network
from runtimes.provider import Network, Request
from tests.runtimes.pods.policies import Cluster, End, Outside, Pod
from tests.runtimes.pods.samples import CLUSTER, GRADING, NAME, PROFILE, REQUEST, request_for

POLICIES = network.policies(CLUSTER)
SITE_LABELS = {"app.kubernetes.io/name": "pupitre", "app.kubernetes.io/instance": "school"}
CLOUD_METADATA = ["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "169.254.169.252"]
CLOUD_METADATA_V6 = ["fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe", "fe80::1"]
PRIVATE = ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "fc00::1"]
# IPv4 addresses in the clothes of IPv6: mapped, NAT64, 6to4 and Teredo.
DISGUISED = ["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1"]
CLUSTERS_OWN = ["10.88.7.1", "34.118.224.1", "35.190.0.7", "2600:1900:4000::1", "fd00:88::1"]
NEVER = [*CLOUD_METADATA, *CLOUD_METADATA_V6, *PRIVATE, *DISGUISED, *CLUSTERS_OWN]
WORLD = ["93.184.216.34", "151.101.0.223", "2a04:4e42::223"]
PORTS = [22, 25, 53, 80, 443, 987, 988, 3141, 5432, 6379, 6443, 8080, 10250, 52316, 52317]
DNS = Pod("kube-system", {"k8s-app": "kube-dns"}, "10.96.0.10")
NODE_DNS = Outside("169.254.20.10")
CACHE = Pod("kube-system", {"k8s-app": "node-local-dns"}, "10.128.0.7")
MIRROR = Pod("mirrors", {"app": "devpi"})


def runtime(request: Request, *, warm: bool = False) -> Pod:
    """A pod of ours with the labels that it is made with."""
    made = manifests.pod(request, CLUSTER, name=NAME, warm=warm)
    return Pod(made["metadata"]["namespace"], made["metadata"]["labels"])


def site(component: str = "site", **more: Any) -> Pod:
    usual = {"namespace": "school-site", "labels": {**SITE_LABELS, "app.kubernetes.io/component": component}}
    return Pod(**{**usual, **more})


def reached(policies: list[dict[str, Any]], source: Pod, addresses: list[str]) -> set[tuple[str, int]]:
    """Of these addresses, those that are reached on any port or protocol that is tried."""
    cluster = Cluster(policies)
    return {
        (address, port)
        for address in addresses
        for port in PORTS
        if any(cluster.may_connect(source, Outside(address), port, protocol) for protocol in ("TCP", "UDP"))
    }


ALONE, FROM_INDEX, ONLINE = (runtime(request_for(each)) for each in (Network.NONE, Network.INDEX, Network.INTERNET))
EVERYONE = {
    "none": ALONE,
    "index": FROM_INDEX,
    "internet": ONLINE,
    "grading": runtime(GRADING),
    "warm": runtime(replace(REQUEST, network=Network.INTERNET), warm=True),
}


# --- out


@pytest.mark.parametrize("who", EVERYONE)
def test_nobody_reaches_metadata_private_or_cluster_addresses(who: str) -> None:
    assert reached(POLICIES, EVERYONE[who], NEVER) == set()


@pytest.mark.parametrize("who", ["none", "index", "grading"])
def test_without_internet_the_world_is_not_reached(who: str) -> None:
    assert reached(POLICIES, EVERYONE[who], WORLD) == set()


@pytest.mark.parametrize("who", ["internet", "warm"])
def test_with_internet_the_web_is_reached_and_nothing_else_of_the_world(who: str) -> None:
    assert reached(POLICIES, EVERYONE[who], WORLD) == {(address, port) for address in WORLD for port in (80, 443)}


def test_who_reads_a_bucket_reaches_gkes_metadata_server_beside_the_web_and_only_on_nodes_that_have_it() -> None:
    data = DataVolume(bucket="sets", service_account="sets-reader")
    reads = replace(request_for(Network.INTERNET), machine=replace(PROFILE, data=data, node_selector={"room": "b12"}))
    metadata = {("169.254.169.254", 80), ("169.254.169.254", 8080), ("169.254.169.252", 987), ("169.254.169.252", 988)}
    assert reached(POLICIES, runtime(reads), NEVER) == metadata
    assert reached(POLICIES, runtime(reads, warm=True), NEVER) == metadata
    assert reached(POLICIES, runtime(reads), WORLD) == reached(POLICIES, ONLINE, WORLD)
    # Elsewhere the same address is the cloud's own, which would name the node's account.
    nodes = manifests.pod(reads, CLUSTER, name=NAME)["spec"]["nodeSelector"]
    assert nodes == {"room": "b12", "iam.gke.io/gke-metadata-server-enabled": "true"}


def test_a_policy_that_forgot_an_exception_is_noticed() -> None:
    """The proof above can fail: each exception taken away opens something that it lists."""
    for number, exceptions in enumerate(_exceptions(POLICIES)):
        for index in range(len(exceptions)):
            opened = copy.deepcopy(POLICIES)
            gone = _exceptions(opened)[number].pop(index)
            first = str(ipaddress.ip_network(gone).network_address)
            assert reached(opened, ONLINE, [first]), gone
            assert not reached(POLICIES, ONLINE, [first]), gone


def _exceptions(policies: list[dict[str, Any]]) -> list[list[str]]:
    internet = next(each for each in policies if each["metadata"]["name"] == "pupitre-internet")
    found = [
        peer["ipBlock"]["except"]
        for rule in internet["spec"]["egress"]
        for peer in rule["to"]
        if "except" in peer.get("ipBlock", {})
    ]
    assert len(found) == 2
    return found


@pytest.mark.parametrize(
    ("who", "open_"), [("none", False), ("grading", False), ("index", True), ("internet", False), ("warm", False)]
)
def test_the_package_index_is_reached_only_where_the_profile_says_so(who: str, open_: bool) -> None:
    cluster = Cluster(POLICIES)
    assert cluster.may_connect(EVERYONE[who], MIRROR, 3141) is open_
    assert not cluster.may_connect(EVERYONE[who], MIRROR, 22)
    assert not cluster.may_connect(EVERYONE[who], Pod("mirrors", {"app": "other"}), 3141)
    assert not cluster.may_connect(EVERYONE[who], Pod("elsewhere", {"app": "devpi"}), 3141)


def test_without_an_index_there_is_no_policy_for_one() -> None:
    policies = network.policies(replace(CLUSTER, index=None))
    assert [each["metadata"]["name"] for each in policies] == [
        "pupitre-nothing", "pupitre-site", "pupitre-internet", "pupitre-bucket",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("who", "open_"), [("none", False), ("grading", False), ("index", True), ("internet", True), ("warm", True)]
)
@pytest.mark.parametrize("server", [DNS, NODE_DNS, CACHE], ids=["kube-dns", "node-local", "node-local by its pod"])
def test_names_are_resolved_only_where_a_network_needs_it(who: str, open_: bool, server: End) -> None:
    cluster = Cluster(POLICIES)
    assert cluster.may_connect(EVERYONE[who], server, 53, "UDP") is open_
    assert cluster.may_connect(EVERYONE[who], server, 53, "TCP") is open_
    assert not cluster.may_connect(EVERYONE[who], server, 80)
    assert not cluster.may_connect(EVERYONE[who], server, 443)


@pytest.mark.parametrize("where", ["169.254.169.254/32", "169.254.0.0/16", "0.0.0.0/0", "fd00:ec2::/64", "::/0"])
def test_a_name_server_at_a_metadata_address_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match="metadata"):
        network.policies(replace(CLUSTER, dns_networks=(where,)))


@pytest.mark.parametrize("who", EVERYONE)
@pytest.mark.parametrize("other", [ALONE, ONLINE, site(), Pod("default"), Pod("kube-system", {"k8s-app": "metrics"})])
def test_runtimes_reach_no_pod_of_each_other_of_the_site_or_of_anyone(who: str, other: Pod) -> None:
    cluster = Cluster(POLICIES)
    assert not [port for port in PORTS if cluster.may_connect(EVERYONE[who], other, port)]


# --- in


@pytest.mark.parametrize("component", ["site", "runtimes", "worker"])
@pytest.mark.parametrize("who", EVERYONE)
def test_the_sites_processes_reach_agent_and_kernels_and_nothing_else(component: str, who: str) -> None:
    cluster = Cluster(POLICIES)
    tried = range(manifests.FIRST_PORT - 2, manifests.LAST_PORT + 3)
    found = [port for port in tried if cluster.may_connect(site(component), EVERYONE[who], port)]
    assert found == list(range(manifests.FIRST_PORT, manifests.LAST_PORT + 1))
    assert not cluster.may_connect(site(component), EVERYONE[who], 22)
    assert not cluster.may_connect(site(component), EVERYONE[who], manifests.FIRST_PORT, "UDP")


@pytest.mark.parametrize(
    "stranger",
    [
        site("beat"),
        site("redis"),
        site(labels=SITE_LABELS),
        site(namespace="default"),
        site(labels={**SITE_LABELS, "app.kubernetes.io/instance": "other", "app.kubernetes.io/component": "site"}),
        ALONE,
        ONLINE,
        Pod("kube-system"),
        Outside("93.184.216.34"),
        Outside("10.88.7.1"),
    ],
)
def test_nobody_else_reaches_a_runtime(stranger: End) -> None:
    cluster = Cluster(POLICIES)
    assert not [
        port for port in (22, 80, manifests.FIRST_PORT, manifests.LAST_PORT)
        for who in EVERYONE.values() if cluster.may_connect(stranger, who, port)
    ]  # fmt: skip


def test_a_pod_of_no_known_label_in_the_namespace_is_closed_too() -> None:
    foreign = Pod("school-runtimes", {"app": "miner"})
    cluster = Cluster(POLICIES)
    assert reached(POLICIES, foreign, [*WORLD, *NEVER]) == set()
    assert not cluster.may_connect(site(), foreign, manifests.FIRST_PORT)


def test_every_exception_lies_inside_its_block_once() -> None:
    """As the API demands."""
    for exceptions in _exceptions(POLICIES):
        networks = [ipaddress.ip_network(text) for text in exceptions]
        assert len(networks) == len(set(networks))
        assert not [(one, two) for one in networks for two in networks if one != two and one.subnet_of(two)]
