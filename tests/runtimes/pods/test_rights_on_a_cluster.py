"""What the site may do on a real cluster, what the cluster refuses it, and what is said where it is not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimes.machine import DataVolume, Gpu, Machine
from runtimes.pods import labels, manifests, namespace
from runtimes.pods.cluster import Cluster, Refused
from runtimes.pods.provider import PodsProvider
from runtimes.provider import GIB, Limits, Phase, ProviderUnavailable, Request
from tests.runtimes.pods.real import (
    MASTER,
    ROOM,
    SMALL,
    as_the_site,
    log_in,
    needs_cluster,
    own_namespace,
    ready_ones,
    running,
    seats,
    until,
)
from tests.runtimes.sandbox.notebook import settled, start_notebook

pytestmark = [needs_cluster, pytest.mark.asyncio, pytest.mark.timeout(300)]


async def test_the_role_is_all_that_the_provider_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with as_the_site(tmp_path, monkeypatch) as (admin, config), running(config) as provider:
        notebook = await start_notebook(provider, "usual", limits=SMALL)
        assert await notebook.run("print(6 * 7)") == "42\n"
        assert await provider.throttle("usual", 0.5)
        assert await provider.throttle("usual", None)
        await notebook.close()
        await provider.release("usual")
        template = Request("any", limits=SMALL)
        await provider.keep_warm([(template, 1)])
        [pod] = await until(lambda: ready_ones(admin, 1))
        # The provider's watch may hear of it a moment after ours; a list brings both up to date.
        await provider.owned()
        await provider.acquire(replace(template, name="claimant"))
        assert (await settled(provider, "claimant")).phase is Phase.READY
        assert (await provider.endpoint("claimant")).identity == pod["metadata"]["name"]
        await provider.keep_warm([])
        await provider.release("claimant")
        lacks = replace(template, machine=Machine("lacks", data=DataVolume("no-sets")))
        assert await provider.refusal(lacks) == 'persistentvolumeclaims "no-sets" not found'
        # It may not see nodes: then nothing is said of them.
        assert await provider.refusal(replace(template, limits=replace(SMALL, memory_bytes=90 * GIB))) == ""


FORBIDDEN = {
    "listing secrets": ("GET", "/api/v1/namespaces/{0}/secrets"),
    "reading a secret": ("GET", "/api/v1/namespaces/{0}/secrets/x"),
    "deleting secrets": ("DELETE", "/api/v1/namespaces/{0}/secrets/x"),
    "executing": ("POST", "/api/v1/namespaces/{0}/pods/x/exec?command=id"),
    "attaching": ("POST", "/api/v1/namespaces/{0}/pods/x/attach"),
    "reading logs": ("GET", "/api/v1/namespaces/{0}/pods/x/log"),
    "adding a container": ("PATCH", "/api/v1/namespaces/{0}/pods/x/ephemeralcontainers"),
    "listing claims of volumes": ("GET", "/api/v1/namespaces/{0}/persistentvolumeclaims"),
    "deleting a claim of a volume": ("DELETE", "/api/v1/namespaces/{0}/persistentvolumeclaims/x"),
    "opening policies": ("DELETE", "/apis/networking.k8s.io/v1/namespaces/{0}/networkpolicies"),
    "raising the quota": ("DELETE", "/api/v1/namespaces/{0}/resourcequotas"),
    "taking more rights": ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/{0}/rolebindings"),
    "a token": ("POST", "/api/v1/namespaces/{0}/serviceaccounts/default/token"),
    "pods elsewhere": ("GET", "/api/v1/namespaces/kube-system/pods"),
    "pods everywhere": ("GET", "/api/v1/pods"),
    "nodes": ("GET", "/api/v1/nodes"),
    "namespaces": ("GET", "/api/v1/namespaces"),
}


async def test_who_may_see_nodes_counts_accelerators_and_sees_what_no_node_could_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with as_the_site(tmp_path, monkeypatch) as (admin, config), running(config) as provider:
        huge = Request("x", limits=replace(SMALL, memory_bytes=90 * GIB))
        assert await provider.accelerators() is None
        assert await provider.refusal(huge) == ""
        role, binding = namespace.node_reader(config)
        try:
            for manifest in (role, binding):
                await admin.apply(manifest)

            async def seen() -> bool:
                return await provider.accelerators() is not None

            await until(seen)
            assert "Insufficient memory" in await provider.refusal(huge)
        finally:
            for manifest in (binding, role):
                await admin.call("DELETE", manifest["kind"], manifest["metadata"]["name"])


async def test_the_site_may_do_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with as_the_site(tmp_path, monkeypatch) as (_admin, config):
        site = Cluster(config.namespace)
        await site.open()
        for what, (method, path) in FORBIDDEN.items():
            body = {"kind": "RoleBinding"} if method in ("POST", "PATCH") else None
            with pytest.raises(Refused) as refused:
                await site._call(method, path.format(config.namespace), body=body)
            assert refused.value.code == 403, (what, refused.value)
        await site.close()


def loosened(change: str) -> Any:
    """A pod of ours with one wall taken down."""

    def loosen(pod: dict[str, Any]) -> None:
        spec, container = pod["spec"], pod["spec"]["containers"][0]
        changes: dict[str, Any] = {
            "privileged": lambda: container["securityContext"].update(privileged=True, allowPrivilegeEscalation=True),
            "root": lambda: spec["securityContext"].update(runAsNonRoot=False, runAsUser=0),
            "host network": lambda: spec.update(hostNetwork=True),
            "host path": lambda: spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
            "capabilities": lambda: container["securityContext"].update(capabilities={"add": ["SYS_ADMIN"]}),
            "no seccomp": lambda: spec["securityContext"].pop("seccompProfile"),
        }
        changes[change]()

    return loosen


async def test_pod_security_takes_our_pods_and_none_with_a_wall_less() -> None:
    async with own_namespace() as (admin, config):
        for purpose in ("interactive", "grading"):
            ours = manifests.pod(Request("ours", purpose=purpose), config, name=labels.new_name())  # type: ignore[arg-type]
            await admin.create(ours, dry_run=True)
        for change in ("privileged", "root", "host network", "host path", "capabilities", "no seccomp"):
            pod = manifests.pod(Request("theirs"), config, name=labels.new_name())
            loosened(change)(pod)
            with pytest.raises(Refused, match="violates PodSecurity"):
                await admin.create(pod, dry_run=True)


NEVER = {
    "a runtime class that is not there": (
        Request("x", machine=Machine(runtime_class="gvisor")),
        'RuntimeClass "gvisor"',
    ),
    "a GPU where there is none": (Request("x", gpu=1, machine=Machine(accelerator=Gpu())), "nvidia.com/gpu"),
    "a GPU of GKE's": (Request("x", gpu=1, machine=Machine(accelerator=Gpu("nvidia-l4"))), "gke-accelerator=nvidia-l4"),
    "nodes that are not there": (Request("x", machine=Machine(node_selector={"room": "b12"})), "room=b12"),
    "memory beyond any node": (Request("x", limits=Limits(memory_bytes=90 * GIB)), "Insufficient memory"),
    "memory beyond the quota": (Request("x", limits=Limits(memory_bytes=200 * GIB)), "exceeded quota"),
    "an image without a digest": (Request("x", machine=Machine(image="kernel:latest")), "digest"),
}


async def test_a_profile_that_the_cluster_cannot_run_is_refused_with_its_own_reason() -> None:
    async with own_namespace() as (admin, config), seats(admin, None):
        provider = PodsProvider(config, {1: MASTER})
        assert await provider.refusal(Request("x", limits=SMALL)) == ""
        for what, (request, words) in NEVER.items():
            assert words in await provider.refusal(request), what
        # Where an autoscaler adds nodes, those of now say nothing.
        grows = PodsProvider(replace(config, adds_nodes=True), {1: MASTER})
        assert await grows.refusal(NEVER["a GPU where there is none"][0]) == ""


async def test_data_sets_that_are_not_there_are_refused_and_a_claim_that_waits_for_its_first_pod_is_not() -> None:
    async with own_namespace() as (admin, config):
        provider = PodsProvider(config, {1: MASTER})
        request = Request("x", limits=SMALL, machine=Machine("data", data=DataVolume("sets")))
        assert await provider.refusal(request) == 'persistentvolumeclaims "sets" not found'
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "sets", "namespace": config.namespace, "finalizers": ["tests/held"]},
            "spec": {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        await admin.call("POST", "PersistentVolumeClaim", body=claim)
        assert await provider.refusal(request) == ""
        await admin.call("DELETE", "PersistentVolumeClaim", "sets")
        try:
            assert await provider.refusal(request) == 'persistentvolumeclaim "sets" is being deleted'
        finally:
            free = [{"op": "remove", "path": "/metadata/finalizers"}]
            await admin.call("PATCH", "PersistentVolumeClaim", "sets", body=free, content="application/json-patch+json")


async def test_where_a_role_of_before_lets_no_claims_be_seen_nothing_is_said_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with as_the_site(tmp_path, monkeypatch) as (admin, config):
        role = namespace.role(config)
        role["rules"] = [rule for rule in role["rules"] if rule["resources"] != ["persistentvolumeclaims"]]
        await admin.call("PUT", "Role", role["metadata"]["name"], body=role)
        request = Request("x", limits=SMALL, machine=Machine("data", data=DataVolume("no-sets")))

        async def passed_over() -> bool:
            return await PodsProvider(config, {1: MASTER}).refusal(request) == ""

        await until(passed_over)


async def test_what_a_runtime_class_adds_counts_when_a_profile_is_tried() -> None:
    async with own_namespace() as (admin, config):
        name = f"{config.namespace}-sandboxed"
        scheduling = {"nodeSelector": {"kubernetes.io/os": "linux", "sandboxed": "yes"}}
        kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": "runc"}
        await admin.call("POST", "RuntimeClass", body={**kind, "scheduling": scheduling})
        try:
            request = Request("x", machine=Machine(runtime_class=name), limits=SMALL)
            assert "without the label sandboxed=yes" in await PodsProvider(config, {1: MASTER}).refusal(request)
        finally:
            await admin.call("DELETE", "RuntimeClass", name)


async def test_a_quota_that_is_full_now_refuses_no_profile() -> None:
    async with own_namespace(replace(ROOM, pods=1)) as (_admin, config), running(config) as provider:
        await provider.acquire(Request("first", limits=SMALL))
        await settled(provider, "first")
        assert await provider.refusal(Request("x", limits=SMALL)) == ""
        await provider.release("first")


async def test_a_cluster_that_is_not_fit_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with own_namespace() as (admin, config):
        with pytest.raises(ProviderUnavailable, match="there is no namespace nowhere-at-all"):
            await PodsProvider(replace(config, namespace="nowhere-at-all"), {1: MASTER}).start()
        await log_in(admin, config, tmp_path, monkeypatch)
        await admin.call("DELETE", "RoleBinding", "pupitre-runtimes")
        with pytest.raises(
            ProviderUnavailable, match=r"may not create pods, .*watch pods.*create secrets; grant its Role"
        ):
            await PodsProvider(config, {1: MASTER}).start()
        lost = "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
        monkeypatch.setattr(lost, str(tmp_path / "none"))
        with pytest.raises(ProviderUnavailable, match="set KUBECONFIG"):
            await PodsProvider(config, {1: MASTER}).start()
