"""What the container of a runtime runs, and the variables that the agent and its kernels have. Pure."""

from __future__ import annotations

from runtimes.agent.kernel import base_environment
from runtimes.machine import Gpu
from runtimes.pods.config import ClusterConfig
from runtimes.provider import Network, Request

ORDER_FOLDER, ORDER_FILE = "/run/order", "order.json"
#: Where temporary files are, where there is scratch: on the machine's disk.
DISK_TEMPORARY = "/var/tmp"  # noqa: S108 - the pod's own
# GKE, "About GPUs": its device plugin mounts the driver there; images have to look there.
_GKE_DRIVER = "/usr/local/nvidia"
# What the kubelet says of the API to every container, also without service links (Kubernetes, "Accessing the API from a
# Pod").
_OF_THE_API = (
    "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS", "KUBERNETES_PORT",
    *(f"KUBERNETES_PORT_443_TCP{part}" for part in ("", "_PROTO", "_PORT", "_ADDR")),
)  # fmt: skip


_PYTHON, _AGENT = "/opt/py/bin/python", "/opt/pupitre/agent"
# What an image must have: the agent, and in its environment what a kernel is made of.
_CHECK = "import sys; sys.path.insert(0, '/opt/pupitre'); import agent.program, ipykernel.kernelapp"


def command(request: Request) -> list[str]:
    """The agent under tini, which reaps what kernels leave."""
    return [*_under_tini(request), _PYTHON, "-I", f"{_AGENT}/run.py", "program", f"{ORDER_FOLDER}/{ORDER_FILE}"]


def check_command(request: Request) -> list[str]:
    """Ends at once, with 0 where the image has what `command` and kernels need."""
    return [*_under_tini(request), _PYTHON, "-I", "-c", _CHECK]


def _under_tini(request: Request) -> list[str]:
    """env: the variables that Kubernetes sets name the API. Those of a device plugin, whose names are its own, are left
    for the agent to choose from (`agent.program`)."""
    variables = {**base_environment(), **_driver(request), "PYTHONDONTWRITEBYTECODE": "1"}
    none = ["-i"] if request.machine.accelerator is None else [f"--unset={name}" for name in _OF_THE_API]
    return [
        *("/usr/bin/env", *none, *(f"{name}={text}" for name, text in variables.items())),
        *("/usr/bin/tini", "-g", "--"),
    ]


def of_kernels(request: Request, config: ClusterConfig) -> dict[str, str]:
    """What kernels have beside `base_environment` and what the agent knows of accelerators."""
    index = {"PIP_INDEX_URL": config.index_url} if request.network is Network.INDEX else {}
    return {**_driver(request), **index, **_disk(request), **request.env}


def _disk(request: Request) -> dict[str, str]:
    """Where there is scratch, pip fetches and unpacks there, and keeps no second copy of what it installed: its cache
    is in memory else, and gone with the pod."""
    return {"TMPDIR": DISK_TEMPORARY, "PIP_NO_CACHE_DIR": "1"} if request.machine.scratch_bytes else {}


def _driver(request: Request) -> dict[str, str]:
    """Where programs find the driver of the GPU that they were given. The loader reads its path as a program starts,
    and kernels are the agent's programs: it needs these as they do."""
    if not isinstance(request.machine.accelerator, Gpu):
        return {}
    base = base_environment()
    return {
        "LD_LIBRARY_PATH": f"{base['LD_LIBRARY_PATH']}:{_GKE_DRIVER}/lib64",
        "PATH": f"{base['PATH']}:{_GKE_DRIVER}/bin",
    }
