"""Internet for a sandbox: what it must not reach. Nothing is sent to any address but the host's loopback."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from runtimes.addresses import REFUSED_NETWORKS
from runtimes.provider import Isolation, Network, NotOffered, Request
from runtimes.sandboxes import network
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.sandbox.notebook import Notebook, descendants, start_notebook

pytestmark = pytest.mark.sandbox
in_sandbox = pytest.mark.asyncio(loop_scope="module")
needs_program = pytest.mark.skipif(bool(network.missing()), reason=f"NO INTERNET HERE: {network.missing()}")
# Connecting a datagram socket only asks the routing table: no packet leaves.
ROUTE = """
import socket
R = {}
for address in ADDRESSES:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect((address, 9)); R[address] = 'route'
        except OSError as error:
            R[address] = 'refused'
"""
FORBIDDEN = [
    "10.0.0.1",
    "10.255.255.254",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "192.168.255.254",
    "168.63.129.16",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
]
# Addresses of no special purpose: a route is looked up, nothing is sent.
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "192.169.0.1", "172.32.0.1"]


@pytest.fixture(scope="module")
def host_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port: int = listener.getsockname()[1]
        yield port


@pytest.fixture(scope="module", params=list(Isolation), ids=str)
def kind(request: pytest.FixtureRequest) -> Isolation:
    chosen: Isolation = request.param
    return chosen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def online(provider: LocalProvider, kind: Isolation) -> AsyncIterator[Notebook]:
    notebook = await start_notebook(provider, f"online-{kind}", isolation=kind, network=Network.INTERNET)
    yield notebook
    await notebook.close()
    await provider.release(notebook.name)


@needs_program
@in_sandbox
async def test_the_only_interfaces_are_loopback_and_the_userspace_one(online: Notebook) -> None:
    names = await online.value("import socket\nR = sorted(name for _n, name in socket.if_nameindex())")
    assert names == ["lo", "tap0"]


@needs_program
@in_sandbox
async def test_private_local_and_metadata_addresses_have_no_route(online: Notebook) -> None:
    found = await online.value(ROUTE.replace("ADDRESSES", repr(FORBIDDEN)))
    assert set(found.values()) == {"refused"}, found


@needs_program
@in_sandbox
async def test_public_addresses_have_a_route(online: Notebook) -> None:
    found = await online.value(ROUTE.replace("ADDRESSES", repr(PUBLIC)))
    assert set(found.values()) == {"route"}, found


@needs_program
@in_sandbox
async def test_the_hosts_loopback_is_out_of_reach(online: Notebook, host_port: int) -> None:
    """10.0.2.2 is slirp4netns's name for it."""
    found = await online.value(
        "import socket\nR = []\nfor address in ('127.0.0.1', '10.0.2.2', '0.0.0.0'):\n    with socket.socket() as s:\n"
        f"        s.settimeout(2)\n        try: s.connect((address, {host_port})); R.append('reached')\n"
        "        except OSError: R.append('refused')"
    )
    assert found == ["refused"] * 3


@needs_program
@in_sandbox
async def test_routes_and_interfaces_cannot_be_changed(online: Notebook) -> None:
    found = await online.value(
        "import socket, struct\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nR = []\n"
        "for level, option, value in ((1, 25, b'tap0'), (0, 50, struct.pack('!I', 2))):\n"
        "    try: s.setsockopt(level, option, value); R.append('set')\n"
        "    except OSError: R.append('refused')\ns.close()\n"
        "n = socket.socket(16, 3, 0); n.bind((0, 0))\n"
        "body = struct.pack('=8BI', 2, 8, 0, 0, 254, 3, 0, 7, 0) + struct.pack('=HH', 8, 1)\n"
        "body += socket.inet_aton('10.0.0.0')\n"
        "n.send(struct.pack('=IHHII', 16 + len(body), 25, 5, 1, 0) + body)\n"
        "R.append('refused' if struct.unpack_from('=i', n.recv(4096), 16)[0] else 'deleted'); n.close()"
    )
    assert found == ["refused"] * 3


@needs_program
@in_sandbox
async def test_the_network_ends_with_the_sandbox(provider: LocalProvider, kind: Isolation) -> None:
    before = descendants(os.getpid())
    notebook = await start_notebook(provider, f"short-{kind}", isolation=kind, network=Network.INTERNET)
    assert "network-internet" in (await provider.status(notebook.name)).isolation
    await notebook.close()
    await provider.release(notebook.name)
    assert descendants(os.getpid()) - before == set()


@in_sandbox
async def test_without_the_program_internet_is_refused_with_what_to_do(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.shutil, "which", lambda _name: None)
    with pytest.raises(NotOffered, match="apt-get install slirp4netns"):
        await provider.acquire(Request("no-program", network=Network.INTERNET))


@in_sandbox
async def test_without_the_tunnel_device_internet_is_refused_with_what_to_do(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "TUNNEL", "/dev/net/none")
    monkeypatch.setattr(network.shutil, "which", lambda name: name)
    with pytest.raises(NotOffered, match="/dev/net/none"):
        await provider.acquire(Request("no-tunnel", network=Network.INTERNET))


@in_sandbox
async def test_a_package_index_alone_is_not_offered_here(provider: LocalProvider) -> None:
    with pytest.raises(NotOffered, match="package index"):
        await provider.acquire(Request("index", network=Network.INDEX))


def test_every_special_purpose_network_is_refused() -> None:
    """Python's own list of what is not globally reachable."""
    refused = [ipaddress.ip_network(text) for text in REFUSED_NETWORKS]
    for text in FORBIDDEN:
        assert any(ipaddress.ip_address(text) in each for each in refused), text
    for each in refused:
        first = each.network_address
        assert not first.is_global or first.is_multicast or str(first) in ("192.88.99.0", "168.63.129.16"), each


def test_the_program_gets_no_way_to_the_hosts_loopback() -> None:
    command = network.command(5, 6, ready_fd=3, exit_fd=4)
    assert {"--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"} <= set(command)
