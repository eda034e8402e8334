"""A real cluster, found by KUBECONFIG and nothing else: each test has a namespace of its own there, and removes it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest

from runtimes.pods import conditions, labels, namespace
from runtimes.pods.cluster import Cluster, Refused
from runtimes.pods.config import ClusterConfig
from runtimes.pods.namespace import Quota
from runtimes.pods.provider import PodsProvider
from runtimes.provider import MIB, Limits
from tests.live import LiveSite

MASTER = b"a master key of tests alone ...."
GIB = 1 << 30
#: Enough for every test, on a small node.
ROOM = Quota(pods=60, cpu_cores=60, memory_bytes=100 * GIB, scratch_bytes=100 * GIB)
KERNEL_IMAGE = "pupitre-kernel@sha256:"
IMAGE_LOOKS = 60
_PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{0}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{0}/rolebindings",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{0}/networkpolicies",
    "ResourceQuota": "/api/v1/namespaces/{0}/resourcequotas",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{0}/poddisruptionbudgets",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses",
    "RuntimeClass": "/apis/node.k8s.io/v1/runtimeclasses",
    "ServiceAccount": "/api/v1/namespaces/{0}/serviceaccounts",
    "Secret": "/api/v1/namespaces/{0}/secrets",
    "Pod": "/api/v1/namespaces/{0}/pods",
    "PersistentVolume": "/api/v1/persistentvolumes",
    "PersistentVolumeClaim": "/api/v1/namespaces/{0}/persistentvolumeclaims",
}

SMALL = Limits(memory_bytes=300 * MIB)
WAIT_SECONDS, LOOK_SECONDS = 60.0, 0.05
#: How long another test may have the nodes to itself.
TURN_SECONDS = 120.0
_NO_CLUSTER = "NO CLUSTER: set KUBECONFIG to test what is promised of Kubernetes"
needs_cluster = pytest.mark.skipif(not os.environ.get("KUBECONFIG"), reason=_NO_CLUSTER)


def skip_without_cluster() -> None:
    """Pytest's summary names each test that is skipped so, and `make test` says it once more at its end."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip(_NO_CLUSTER)


class Admin(Cluster):
    """What the cluster's administrator may, beside what the provider needs."""

    async def __aenter__(self) -> Admin:
        await self.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    @property
    def configuration(self) -> Any:
        """Where the cluster is, and whom it may be trusted by."""
        assert self._client is not None
        return self._client.configuration

    async def call(self, method: str, kind: str, name: str = "", **more: Any) -> dict[str, Any]:
        path = _PATHS[kind].format(self.namespace)
        return await self._call(method, f"{path}/{name}" if name else path, **more)

    async def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Makes it; what is there already stays (cluster-wide classes)."""
        try:
            return await self.call("POST", manifest["kind"], body=manifest)
        except Refused as refusal:
            if refusal.code != 409:
                raise
            return manifest

    async def names(self, kind: str) -> list[str]:
        return [each["metadata"]["name"] for each in (await self.call("GET", kind))["items"]]


async def kernel_image(admin: Admin) -> str:
    """The kernels' image by digest: PODS_IMAGE, or one that a node has; a node tells of a new one within a minute."""
    if chosen := os.environ.get("PODS_IMAGE"):
        return chosen
    for _look in range(IMAGE_LOOKS):
        names = [image.get("names") or [] for node in await admin.nodes() or () for image in _images(node)]
        # One that still has a tag is the last that was built.
        for found in sorted(names, key=lambda each: all("@" in name for name in each)):
            for name in found:
                if KERNEL_IMAGE in name:
                    return str(name)
        await asyncio.sleep(1)
    pytest.skip("NO IMAGE of kernels on the cluster's nodes: build deploy/images/kernel, or set PODS_IMAGE")


def _images(node: dict[str, Any]) -> list[dict[str, Any]]:
    """A node that nobody runs has none."""
    return node["status"].get("images") or []


@asynccontextmanager
async def own_namespace(quota: Quota = ROOM, **config: Any) -> AsyncIterator[tuple[Admin, ClusterConfig]]:
    """A namespace as the site's is, gone afterwards with all that is in it."""
    name = f"pupitre-test-{secrets.token_hex(4)}"
    async with Admin(name) as admin:
        image = await kernel_image(admin)
        made = ClusterConfig(site="tests", namespace=name, site_namespace=name, image=image, **config)
        try:
            for manifest in namespace.objects(made, quota):
                await admin.apply(manifest)
            await admin.apply(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
            )
            yield admin, made
        finally:
            with suppress(Refused):
                await admin.call("DELETE", "Namespace", name, body={"gracePeriodSeconds": 0})


async def log_in(admin: Admin, config: ClusterConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on KUBECONFIG is the site's service account, whose rights are its Role's."""
    account = {"kind": "ServiceAccount", "metadata": {"name": config.service_account, "namespace": config.namespace}}
    await admin.apply({"apiVersion": "v1", **account})
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    asked = await admin.call("POST", "ServiceAccount", f"{config.service_account}/token", body=body)
    here = admin.configuration
    cluster = {"server": here.host, "certificate-authority": here.ssl_ca_cert}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "site",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": asked["status"]["token"]}}],
        "contexts": [{"name": "site", "context": {"cluster": "c", "user": "u"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))


@asynccontextmanager
async def as_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Admin, ClusterConfig]]:
    async with own_namespace() as (admin, config):
        await log_in(admin, config, tmp_path, monkeypatch)
        yield admin, config


@asynccontextmanager
async def running(config: ClusterConfig, most: int = 0) -> AsyncIterator[PodsProvider]:
    # It takes the master key from here.
    from tests.runtimes.sandbox.notebook import close_notebooks

    provider = PodsProvider(config, {config.key_version: MASTER}, most=most)
    await provider.start()
    try:
        yield provider
    finally:
        await close_notebooks(provider)
        await provider.close()


async def until(what: Callable[[], Any], patience: float = WAIT_SECONDS) -> Any:
    """What `what` returns, once it is true; awaited where it is a coroutine. patience: in seconds."""
    async with asyncio.timeout(patience):
        while True:
            found = what()
            found = await found if asyncio.iscoroutine(found) else found
            if found:
                return found
            await asyncio.sleep(LOOK_SECONDS)


async def warm(admin: Admin) -> list[dict[str, Any]]:
    """Warm pods that could be claimed now."""
    pods, _version = await admin.pods(f"{labels.STATE}={labels.WARM}")
    return [pod for pod in pods if conditions.is_ready(pod)]


async def ready_ones(admin: Admin, count: int) -> list[dict[str, Any]] | None:
    found = await warm(admin)
    return found if len(found) == count else None


def site_settings(config: ClusterConfig) -> dict[str, str]:
    """Django's settings of a site whose runtimes are pods in this namespace."""
    return {
        "RUNTIME_PROVIDER": "runtimes.pods.provider.PodsProvider",
        "PODS_SITE": config.site,
        "PODS_NAMESPACE": config.namespace,
        "PODS_SITE_NAMESPACE": config.site_namespace,
        "PODS_IMAGE": config.image,
    }


@asynccontextmanager
async def seats(admin: Admin, count: int | None) -> AsyncIterator[None]:
    """So many GPUs on every node, as a device plugin reports them; None leaves each as it is. Tests that run at the
    same time share the nodes: only one of them has this at a time."""
    with (Path(tempfile.gettempdir()) / "pupitre-test-nodes.lock").open("w") as lock:
        async with asyncio.timeout(TURN_SECONDS):
            while not _taken(lock):
                await asyncio.sleep(LOOK_SECONDS)
        try:
            await _set_seats(admin, count)
            yield
        finally:
            await _set_seats(admin, None)


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _set_seats(admin: Admin, count: int | None) -> None:
    value = None if count is None else str(count)
    body = {"status": {field: {"nvidia.com/gpu": value} for field in ("capacity", "allocatable")}}
    for name in await admin.names("Node"):
        try:
            await admin.call("PATCH", "Node", f"{name}/status", body=body, content="application/merge-patch+json")
        except Refused as refusal:
            # Another test's node, which is gone again.
            if refusal.code != 404:
                raise


@contextmanager
def live_site(blocker: Any) -> Iterator[LiveSite]:
    """The site's own processes, with kernels as pods in a namespace of their own."""
    with asyncio.Runner() as runner:
        place = own_namespace()
        _admin, config = runner.run(place.__aenter__())
        try:
            with LiveSite(blocker, **site_settings(config)) as live:
                yield live
        finally:
            runner.run(place.__aexit__(None, None, None))
