"""What is left where a cluster's network is open, and where code starts processes without end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from runtimes.agent import layout
from runtimes.keys import connection_keys
from runtimes.pods.provider import PodsProvider
from tests.runtimes.pods.real import MASTER, SMALL, needs_cluster
from tests.runtimes.sandbox.notebook import WAIT, start_notebook

pytestmark = [needs_cluster, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
KINDS = {"iopub": zmq.SUB, "hb": zmq.REQ}
#: Ports on which anything of the pod listens for others (proc(5), /proc/net/tcp; 0A is LISTEN).
LISTENING = """
R = []
for name, loopback in (("tcp", "0100007F"), ("tcp6", "0" * 24 + "01000000")):
    for line in list(open(f"/proc/net/{name}"))[1:]:
        (host, port), state = line.split()[1].split(":"), line.split()[3]
        if state == "0A" and host != loopback:
            R.append(int(port, 16))
"""
#: As docs/operate.md has it tried.
SPAWN = """
import subprocess
running = []
try:
    while len(running) < 3000:
        running.append(subprocess.Popen(["sleep", "60"]))
except OSError:
    pass
R = len(running)
"""
END = "for each in running:\n    each.kill()\n    each.wait()"


async def greets(address: str, kind: int, server_key: str | None) -> bool:
    """Whether whoever listens there lets somebody in who knows this key of it, or asks without Curve."""
    context = zmq.asyncio.Context()
    socket = context.socket(kind)
    if server_key is not None:
        socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.curve_serverkey = server_key.encode()
    monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
    try:
        socket.connect(address)
        async with asyncio.timeout(WAIT):
            event = await recv_monitor_message(monitor)
        return bool(event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED)
    finally:
        socket.disable_monitor()
        monitor.close(0)
        socket.close(0)
        context.term()


async def test_processes_without_end_meet_the_nodes_limit_and_the_agent_still_answers(
    provider: PodsProvider, place: Any
) -> None:
    notebook = await start_notebook(provider, "many", limits=SMALL)
    admin, _config = place
    node = (await admin.pod(notebook.endpoint.identity))["spec"]["nodeName"]
    kubelet = await admin._call("GET", f"/api/v1/nodes/{node}/proxy/configz")
    limit = kubelet["kubeletconfig"].get("podPidsLimit", -1)
    try:
        if limit < 0:
            pytest.skip("NO podPidsLimit on the cluster's nodes: it was not tested that processes are limited")
        assert 0 < await notebook.value(SPAWN) < limit
        # The reply comes before the kernel has said that it is idle.
        async with asyncio.timeout(WAIT):
            while [kernel.state for kernel in (await notebook.agent.status()).kernels] != ["idle"]:
                await asyncio.sleep(0.05)
        assert await notebook.run(f"{END}\nprint('ended')") == "ended\n"
        assert await notebook.value("R = subprocess.run(['echo', 'again'], capture_output=True).stdout") == b"again\n"
    finally:
        await notebook.close()
        await provider.release("many")


async def test_a_pod_listens_on_its_own_ports_alone_and_greets_nobody_without_its_keys(provider: PodsProvider) -> None:
    """Whoever can reach it: where no policy is enforced, this is what is left."""
    notebook = await start_notebook(provider, "locked", limits=SMALL)
    connection = notebook.endpoint.kernel_info(0, notebook.keys)
    sockets = {notebook.endpoint.agent_url: zmq.DEALER} | {
        layout.channel_url(connection, channel): KINDS.get(channel, zmq.DEALER) for channel in layout.CHANNELS
    }
    ports = {int(address.rpartition(":")[2]) for address in sockets}
    assert set(await notebook.value(LISTENING)) == ports
    stranger = connection_keys(MASTER, 1, "another identity").curve_public
    for address, kind in sockets.items():
        assert [await greets(address, kind, key) for key in (None, stranger)] == [False, False], address
        assert await greets(address, kind, notebook.keys.curve_public), address
    await notebook.close()
    await provider.release("locked")
