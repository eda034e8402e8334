"""A request and a profile as a pod and its Secret."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runtimes.agent import layout, program, supervisor
from runtimes.endpoint import Endpoint
from runtimes.keys import connection_keys
from runtimes.machine import DataVolume, Gpu, Machine, Tpu
from runtimes.pods import manifests, namespace
from runtimes.pods.config import ClusterConfig
from runtimes.pods.namespace import Quota
from runtimes.provider import InvalidRequest, Limits, Network, NotOffered, Request
from tests.runtimes.pods.restricted import violations
from tests.runtimes.pods.samples import CLUSTER, DIGEST, GRADING, NAME, PROFILE, REQUEST, request_for

MASTER = b"a master key of tests alone ...."
KEYS = connection_keys(MASTER, 1, NAME)
L4 = Gpu(model="nvidia-l4")
WITH_GPU = replace(REQUEST, gpu=1)
EVERY_PROFILE = {
    "plain": (REQUEST, PROFILE, CLUSTER),
    "grading": (GRADING, PROFILE, CLUSTER),
    "internet": (request_for(Network.INTERNET), PROFILE, CLUSTER),
    "index": (request_for(Network.INDEX), PROFILE, CLUSTER),
    "scratch": (REQUEST, replace(PROFILE, scratch_bytes=1 << 30), CLUSTER),
    "gvisor": (REQUEST, replace(PROFILE, runtime_class="gvisor"), CLUSTER),
    "user namespaces": (REQUEST, PROFILE, replace(CLUSTER, user_namespaces=True)),
    "gpu": (WITH_GPU, replace(PROFILE, accelerator=L4), CLUSTER),
    "volume": (REQUEST, replace(PROFILE, data=DataVolume("sets")), CLUSTER),
    "tpu": (replace(REQUEST, gpu=4), replace(PROFILE, accelerator=Tpu("tpu-v6e-slice", "2x2")), CLUSTER),
}
Case = tuple[Request, Machine, ClusterConfig]


def asked(case: Case) -> tuple[Request, ClusterConfig]:
    request, machine, cluster = case
    return replace(request, machine=machine), cluster


def made(case: Case = (REQUEST, PROFILE, CLUSTER), *, warm: bool = False) -> dict[str, Any]:
    return manifests.pod(*asked(case), name=NAME, warm=warm)


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    return only


# --- walls


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("case", EVERY_PROFILE.values(), ids=EVERY_PROFILE)
def test_every_pod_meets_pod_security_restricted_and_more(case: Case, warm: bool) -> None:
    pod = made(case, warm=warm)
    spec = pod["spec"]
    assert violations(pod) == []
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert container(pod)["securityContext"]["readOnlyRootFilesystem"] is True
    assert all(volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"] if "emptyDir" in volume)
    own = [volume for volume in spec["volumes"] if volume["name"] != "data"]
    assert {tuple(set(volume) - {"name"}) for volume in own} == {("secret",), ("emptyDir",)}
    assert spec["activeDeadlineSeconds"] > 0
    # Whatever its site does, it ends before it would be killed.
    request, cluster = asked(case)
    grace = manifests.order(request, KEYS, cluster, warm=warm)["grace_seconds"]
    assert 0 <= grace < spec["terminationGracePeriodSeconds"] <= 30
    assert bool(grace) == (request.purpose == "interactive")
    # Nothing that Kubernetes would read as "unset" is sent as an empty value.
    assert all(value not in ("", {}, [], None) for value in spec.values())


WEAKENED: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "hostNetwork": lambda spec, _one: spec.update(hostNetwork=True),
    "volume hostPath": lambda spec, _one: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "runAsNonRoot": lambda spec, _one: spec["securityContext"].pop("runAsNonRoot"),
    "runAsUser": lambda spec, _one: spec["securityContext"].update(runAsUser=0),
    "seccompProfile": lambda spec, _one: spec["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    "allowPrivilegeEscalation": lambda _spec, one: one.pop("allowPrivilegeEscalation"),
    "privileged": lambda _spec, one: one.update(privileged=True),
    "capabilities": lambda _spec, one: one.update(capabilities={"drop": ["NET_RAW"]}),
}


@pytest.mark.parametrize("wall", WEAKENED)
def test_a_pod_without_one_of_its_walls_is_noticed(wall: str) -> None:
    pod = copy.deepcopy(made())
    WEAKENED[wall](pod["spec"], container(pod)["securityContext"])
    assert violations(pod) == [wall]


def test_processes_are_limited_by_rlimit_only_where_a_uid_is_the_pods_own() -> None:
    """Without a user namespace the limit would count the processes of every pod of the node."""
    own = replace(CLUSTER, user_namespaces=True)
    assert "NPROC" not in manifests.order(REQUEST, KEYS, CLUSTER)["rlimits"]
    assert manifests.order(REQUEST, KEYS, own)["rlimits"]["NPROC"] == REQUEST.limits.processes
    assert made((REQUEST, PROFILE, own))["spec"]["hostUsers"] is False
    assert "hostUsers" not in made()["spec"]


@pytest.mark.parametrize(
    ("cluster", "codes"),
    [
        (CLUSTER, "pod,seccomp,memory-cgroup,cpu-cgroup,network-none"),
        (replace(CLUSTER, policies_enforced=False), "pod,seccomp,memory-cgroup,cpu-cgroup,network-unproven"),
        (
            replace(CLUSTER, user_namespaces=True),
            "pod,seccomp,memory-cgroup,processes-rlimit,cpu-cgroup,network-none",
        ),
    ],
)
def test_a_pod_claims_no_wall_that_is_not_known_to_hold(cluster: ClusterConfig, codes: str) -> None:
    assert made((REQUEST, PROFILE, cluster))["metadata"]["annotations"]["pupitre/isolation"] == codes


# --- what it runs


def test_the_container_runs_the_agent_on_its_order_with_nothing_of_kubernetes_in_its_environment() -> None:
    command = container(made())["command"]
    assert command[:2] == ["/usr/bin/env", "-i"]
    assert not [text for text in command if text.startswith("KUBERNETES")]
    assert command[command.index("--") + 1 :] == [
        "/opt/py/bin/python", "-I", "/opt/pupitre/agent/run.py", "program", "/run/order/order.json",
    ]  # fmt: skip
    assert "env" not in container(made())


@pytest.mark.parametrize("case", ["gpu", "tpu"])
def test_with_an_accelerator_what_its_device_plugin_says_is_left_and_nothing_of_kubernetes(case: str) -> None:
    """A GPU's driver and a TPU's place in its slice are told by variables of the container (GKE's device plugins)."""
    command = container(made(EVERY_PROFILE[case]))["command"]
    assert "-i" not in command
    kubelets = {
        "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS", "KUBERNETES_PORT",
        "KUBERNETES_PORT_443_TCP", "KUBERNETES_PORT_443_TCP_PROTO", "KUBERNETES_PORT_443_TCP_PORT",
        "KUBERNETES_PORT_443_TCP_ADDR",
    }  # fmt: skip
    assert {text.removeprefix("--unset=") for text in command if text.startswith("--unset=")} == kubelets


def test_a_gpus_driver_is_found_where_gke_mounts_it_by_the_agent_and_by_kernels() -> None:
    request, cluster = asked(EVERY_PROFILE["gpu"])
    loader, programs = "/opt/py/lib:/usr/local/nvidia/lib64", "/usr/bin:/bin:/usr/local/nvidia/bin"
    assert f"LD_LIBRARY_PATH={loader}" in container(made(EVERY_PROFILE["gpu"]))["command"]
    env = manifests.order(replace(request, env={"SEED": "7"}), KEYS, cluster)["env"]
    assert env.keys() == {"LD_LIBRARY_PATH", "PATH", "SEED"}
    assert env["LD_LIBRARY_PATH"] == loader
    assert env["PATH"].endswith(programs)
    assert manifests.order(*asked(EVERY_PROFILE["tpu"])[:1], KEYS, cluster)["env"] == {}


def test_what_loads_data_for_a_gpu_shares_half_the_memory_with_its_processes() -> None:
    pod = made(EVERY_PROFILE["gpu"])
    assert {"name": "shared", "mountPath": "/dev/shm"} in container(pod)["volumeMounts"]
    half = {"medium": "Memory", "sizeLimit": str(REQUEST.limits.memory_bytes // 2)}
    assert {"name": "shared", "emptyDir": half} in pod["spec"]["volumes"]


def test_of_the_containers_variables_kernels_have_those_of_accelerators() -> None:
    # GKE's device plugin for TPUs, and that for GPUs with MPS.
    tpu = {
        "TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_TOPOLOGY": "2x2", "TPU_WORKER_ID": "0", "ALT": "false",
        "TPU_WORKER_HOSTNAMES": "localhost", "TPU_SKIP_MDS_QUERY": "true", "TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1",
        "CHIPS_PER_HOST_BOUNDS": "2,2,1", "HOST_BOUNDS": "1,1,1", "TPU_HOST_BOUNDS": "1,1,1", "WRAP": "false",
        "TPU_RUNTIME_METRICS_PORTS": "8431", "VBAR_CONTROL_SERVICE_URL": "unix:///var/run/tpu-plugin/vbar.sock",
    }  # fmt: skip
    gpu = {"NVIDIA_VISIBLE_DEVICES": "GPU-1", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25"}
    others = {"KUBERNETES_PORT": "tcp://10.0.0.1:443", "PATH": "/bin", "HOSTNAME": "notebook", "MY_ALT": "x"}
    assert program.of_accelerators({**tpu, **gpu, **others}) == {**tpu, **gpu}


def test_the_order_says_all_that_the_agent_reads() -> None:
    """Names are those that its code asks the request for, in a runtime without an owner."""
    owners = {"memory_limit_bytes"}
    read = {
        node.slice.value
        for module in (program, supervisor)
        for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "request"
        and isinstance(node.slice, ast.Constant)
    } - owners
    assert {"keys", "transport", "env", "kernels", "watch_idle"} <= read
    assert read <= manifests.order(REQUEST, KEYS, CLUSTER).keys()


def test_the_order_gives_the_kernels_what_the_request_says() -> None:
    order = manifests.order(replace(REQUEST, env={"SEED": "7"}, kernels=2), KEYS, CLUSTER)
    assert (order["env"], order["kernels"], order["watch_idle"]) == ({"SEED": "7"}, 2, True)
    assert manifests.order(GRADING, KEYS, CLUSTER)["watch_idle"] is False
    assert json.loads(json.dumps(order)) == order


def test_the_agent_listens_where_an_endpoint_of_the_pod_looks_for_it() -> None:
    order = manifests.order(REQUEST, KEYS, CLUSTER)
    there = layout.kernel_connection(order["transport"], order["host"], 3, order["keys"])
    here = Endpoint("tcp", "10.88.7.20", NAME).kernel_info(3, KEYS)
    assert {**there, "ip": "10.88.7.20", "kernel_name": "python3"} == here
    assert layout.agent_url(order["transport"], order["host"]) == "tcp://0.0.0.0:52316"


def test_the_ports_are_the_agents_and_those_of_every_kernel() -> None:
    used = {
        layout.kernel_connection("tcp", "10.88.7.20", index, order_keys())[f"{channel}_port"]
        for index in range(layout.MAX_KERNELS)
        for channel in layout.CHANNELS
    } | {layout.AGENT_PORT}
    assert used == set(range(manifests.FIRST_PORT, manifests.LAST_PORT + 1))


def order_keys() -> dict[str, str]:
    keys: dict[str, str] = manifests.order(REQUEST, KEYS, CLUSTER)["keys"]
    return keys


def test_a_pod_is_ready_when_its_agent_listens_and_stays_so() -> None:
    one = container(made())
    # The agent opens once the kernels that start with it do; of one that dies later it tells itself.
    for probe in ("startupProbe", "readinessProbe"):
        assert one[probe]["tcpSocket"] == {"port": layout.AGENT_PORT}
    assert "livenessProbe" not in one


# --- what it gets


def test_limits_become_resources_and_memory_is_reserved_whole() -> None:
    limits = Limits(memory_bytes=3 << 30, cpu_cores=1.5, home_bytes=256 << 20, tmp_bytes=64 << 20)
    pod = made((replace(REQUEST, limits=limits), replace(PROFILE, scratch_bytes=1 << 30), CLUSTER))
    memory, disk = str(3 << 30), str((1 << 30) + (64 << 20))
    assert container(pod)["resources"] == {
        "limits": {"cpu": "1500m", "memory": memory, "ephemeral-storage": disk},
        "requests": {"cpu": "100m", "memory": memory, "ephemeral-storage": disk},
    }
    sizes = {volume["name"]: volume["emptyDir"] for volume in pod["spec"]["volumes"] if "emptyDir" in volume}
    assert sizes == {
        "home": {"medium": "Memory", "sizeLimit": str(256 << 20)},
        "tmp": {"medium": "Memory", "sizeLimit": str(64 << 20)},
        "scratch": {"sizeLimit": str(1 << 30)},
    }


def test_no_more_cores_are_reserved_than_the_limit_gives() -> None:
    pod = made((replace(REQUEST, limits=Limits(cpu_cores=0.25)), replace(PROFILE, cpu_request=2.0), CLUSTER))
    assert container(pod)["resources"]["requests"]["cpu"] == "250m"


def test_every_mounted_volume_exists_and_nothing_else_is_writable() -> None:
    pod = made((REQUEST, replace(PROFILE, scratch_bytes=1 << 30), CLUSTER))
    mounts = {mount["mountPath"]: mount for mount in container(pod)["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert mounts["/run/order"]["readOnly"] is True
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
    assert writable == {"/home/student", "/home/student/.local", "/tmp", "/var/tmp", "/scratch"}


def test_with_scratch_installed_packages_and_temporary_files_are_parts_of_it() -> None:
    scratch = (REQUEST, replace(PROFILE, scratch_bytes=2 << 30), CLUSTER)
    parts = {mount["mountPath"]: mount.get("subPath") for mount in container(made(scratch))["volumeMounts"]
             if mount["name"] == "scratch"}  # fmt: skip
    assert parts == {"/scratch": None, "/home/student/.local": ".local", "/var/tmp": ".tmp"}
    order = manifests.order(asked(scratch)[0], KEYS, CLUSTER)
    assert order["env"] == {**REQUEST.env, "TMPDIR": "/var/tmp", "PIP_NO_CACHE_DIR": "1"}
    # Longer than the limit of a file in memory, and never more than there is.
    assert order["rlimits"]["FSIZE"] == 2 << 30
    without = manifests.order(REQUEST, KEYS, CLUSTER)
    assert without["env"] == dict(REQUEST.env)
    assert without["rlimits"]["FSIZE"] == REQUEST.limits.file_bytes


ANY = {"operator": "Exists", "effect": "NoSchedule"}
BORNE = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
SILENT = [{"key": f"node.kubernetes.io/{state}", **BORNE} for state in ("not-ready", "unreachable")]


@pytest.mark.parametrize(
    ("accelerator", "count", "resource", "selector"),
    [
        (Gpu(), 2, "nvidia.com/gpu", None),
        (L4, 1, "nvidia.com/gpu", {"cloud.google.com/gke-accelerator": "nvidia-l4"}),
        (
            Gpu(model="nvidia-tesla-a100", partition="1g.5gb"),
            1,
            "nvidia.com/gpu",
            {
                "cloud.google.com/gke-accelerator": "nvidia-tesla-a100",
                "cloud.google.com/gke-gpu-partition-size": "1g.5gb",
            },
        ),
        (
            Gpu(model="nvidia-l4", sharing="time-sharing", clients=4),
            1,
            "nvidia.com/gpu",
            {
                "cloud.google.com/gke-accelerator": "nvidia-l4",
                "cloud.google.com/gke-gpu-sharing-strategy": "time-sharing",
                "cloud.google.com/gke-max-shared-clients-per-gpu": "4",
            },
        ),
        (
            Tpu("tpu-v5-lite-podslice", "2x4"),
            8,
            "google.com/tpu",
            {
                "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
                "cloud.google.com/gke-tpu-topology": "2x4",
            },
        ),
    ],
)
def test_an_accelerator_is_a_resource_with_its_nodes(
    accelerator: Gpu | Tpu, count: int, resource: str, selector: dict[str, str] | None
) -> None:
    pod = made((replace(REQUEST, gpu=count), replace(PROFILE, accelerator=accelerator), CLUSTER))
    resources = container(pod)["resources"]
    assert resources["limits"][resource] == resources["requests"][resource] == str(count)
    assert pod["spec"].get("nodeSelector") == selector
    assert pod["spec"]["tolerations"] == [{"key": resource, **ANY}, *SILENT]


def test_a_profile_chooses_its_own_nodes_before_those_of_gke() -> None:
    lab = {"key": "lab", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}
    chosen = replace(
        PROFILE,
        accelerator=L4,
        node_selector={"cloud.google.com/gke-accelerator": "nvidia-t4", "room": "b12"},
        tolerations=(lab,),
        runtime_class="gvisor",
    )
    spec = made((WITH_GPU, chosen, CLUSTER))["spec"]
    assert spec["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-t4", "room": "b12"}
    assert spec["tolerations"] == [lab, {"key": "nvidia.com/gpu", **ANY}, *SILENT]
    assert spec["runtimeClassName"] == "gvisor"


def test_without_an_accelerator_nothing_is_said_of_one() -> None:
    pod = json.dumps(made())
    assert not [word for word in ("gpu", "tpu", "nodeSelector", "runtimeClassName") if word in pod]


@pytest.mark.parametrize("warm", [True, False])
def test_a_silent_node_is_borne_for_half_a_minute_unless_the_machine_says_for_how_long(warm: bool) -> None:
    assert made(warm=warm)["spec"]["tolerations"] == SILENT
    patient = {**SILENT[1], "tolerationSeconds": 600}
    own = replace(PROFILE, tolerations=(patient,))
    assert made((REQUEST, own, CLUSTER), warm=warm)["spec"]["tolerations"] == [patient, SILENT[0]]
    for everything in ({"operator": "Exists"}, {"operator": "Exists", "effect": "NoExecute"}):
        own = replace(PROFILE, tolerations=(everything,))
        assert made((REQUEST, own, CLUSTER), warm=warm)["spec"]["tolerations"] == [everything]


@pytest.mark.parametrize(
    ("network", "policy", "nameservers"),
    [
        (Network.NONE, "None", ["127.0.0.1"]),
        (Network.INDEX, "ClusterFirst", None),
        (Network.INTERNET, "ClusterFirst", None),
    ],
)
def test_names_are_looked_up_only_with_a_network(network: Network, policy: str, nameservers: list[str] | None) -> None:
    spec = made((request_for(network), PROFILE, CLUSTER))["spec"]
    assert spec["dnsPolicy"] == policy
    assert spec.get("dnsConfig", {}).get("nameservers") == nameservers


def test_a_graded_pod_is_never_started_again_and_a_students_is() -> None:
    assert made((GRADING, PROFILE, CLUSTER))["spec"]["restartPolicy"] == "Never"
    assert made()["spec"]["restartPolicy"] == "OnFailure"


def test_a_warm_pod_may_wait_and_then_live_as_long_as_any() -> None:
    lifetime = REQUEST.limits.lifetime
    assert made()["spec"]["activeDeadlineSeconds"] == lifetime.total_seconds()
    assert made(warm=True)["spec"]["activeDeadlineSeconds"] == (lifetime + manifests.WARM_FOR).total_seconds()


def test_a_deadline_is_a_whole_number_of_seconds_and_never_too_short() -> None:
    limits = Limits(lifetime=timedelta(milliseconds=1500))
    assert made((replace(REQUEST, limits=limits), PROFILE, CLUSTER))["spec"]["activeDeadlineSeconds"] == 2


# --- its Secret


def secret() -> dict[str, Any]:
    return manifests.secret(REQUEST, CLUSTER, name=NAME, uid="0a1b", keys=KEYS)


def test_keys_are_in_the_secret_and_nowhere_in_the_pod() -> None:
    order = json.loads(secret()["stringData"]["order.json"])
    assert order == manifests.order(REQUEST, KEYS, CLUSTER)
    pod = json.dumps(made())
    assert not [key for key in (KEYS.hmac_key, KEYS.curve_public, KEYS.curve_secret) if key in pod]


def test_the_secret_belongs_to_the_pod_and_ends_with_it() -> None:
    assert secret()["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": NAME,
            "uid": "0a1b",
            "controller": False,
            "blockOwnerDeletion": False,
        }
    ]
    assert secret()["immutable"] is True


def test_the_pod_mounts_its_own_secret_readable_for_its_group_alone() -> None:
    volume = next(volume for volume in made()["spec"]["volumes"] if "secret" in volume)
    assert volume["secret"] == {"secretName": secret()["metadata"]["name"], "defaultMode": 0o440}
    assert made()["metadata"]["namespace"] == secret()["metadata"]["namespace"] == "school-runtimes"


# --- what can be warm for it


@pytest.mark.parametrize(
    "case",
    [
        (replace(REQUEST, name="ben-1"), PROFILE, CLUSTER),
        (replace(REQUEST, env=dict(REQUEST.env)), PROFILE, CLUSTER),
    ],
    ids=["name", "equal"],
)
def test_a_warm_pod_serves_requests_that_differ_in_nothing_that_it_is_made_of(case: Case) -> None:
    assert manifests.template_digest(*asked(case)) == manifests.template_digest(REQUEST, CLUSTER)


def test_jobs_that_import_other_modules_wait_in_one_line() -> None:
    """None is kept warm for them: what they import is a hint that a pod knows nothing of."""
    other = replace(GRADING, preload=("numpy",))
    assert manifests.template_digest(other, CLUSTER) == manifests.template_digest(GRADING, CLUSTER)


@pytest.mark.parametrize(
    "case",
    [
        (replace(REQUEST, kernels=2), PROFILE, CLUSTER),
        (replace(REQUEST, env={"A": "1"}), PROFILE, CLUSTER),
        (replace(REQUEST, preload=("numpy",)), PROFILE, CLUSTER),
        (replace(REQUEST, network=Network.INTERNET), PROFILE, CLUSTER),
        (replace(REQUEST, purpose="grading"), PROFILE, CLUSTER),
        (replace(REQUEST, limits=replace(REQUEST.limits, memory_bytes=2 << 30)), PROFILE, CLUSTER),
        (replace(REQUEST, limits=replace(REQUEST.limits, open_files=99)), PROFILE, CLUSTER),
        (REQUEST, replace(PROFILE, image=f"registry.example/kernel@sha256:{'cd' * 32}"), CLUSTER),
        (REQUEST, replace(PROFILE, slug="other"), CLUSTER),
        (REQUEST, PROFILE, replace(CLUSTER, key_version=2)),
        (REQUEST, PROFILE, replace(CLUSTER, policies_enforced=False)),
    ],
)
def test_a_warm_pod_serves_no_request_that_needs_another_pod(case: Case) -> None:
    assert manifests.template_digest(*asked(case)) != manifests.template_digest(REQUEST, CLUSTER)


# --- what is refused


@pytest.mark.parametrize(
    ("request_", "profile", "why"),
    [
        (REQUEST, replace(PROFILE, image="kernel:latest"), "digest"),
        (REQUEST, replace(PROFILE, image=f"kernel@{DIGEST[:-1]}"), "digest"),
        (REQUEST, replace(PROFILE, cpu_request=0), "reserved cores"),
        (replace(REQUEST, name="Ada"), PROFILE, "DNS label"),
        (WITH_GPU, PROFILE, "no kind"),
        (REQUEST, replace(PROFILE, accelerator=L4), "0 GPUs"),
        (replace(REQUEST, gpu=2), replace(PROFILE, accelerator=Gpu(partition="1g.5gb")), "asked for alone"),
        (
            replace(REQUEST, gpu=2),
            replace(PROFILE, accelerator=Gpu(sharing="time-sharing", clients=2)),
            "asked for alone",
        ),
        (replace(GRADING, gpu=1), replace(PROFILE, accelerator=Gpu(sharing="time-sharing", clients=2)), "never shares"),
        (WITH_GPU, replace(PROFILE, accelerator=Gpu(sharing="time-sharing")), "number of clients"),
        (WITH_GPU, replace(PROFILE, accelerator=Gpu(clients=4)), "number of clients"),
        (WITH_GPU, replace(PROFILE, accelerator=Tpu("tpu-v6e-slice", "2x2")), "4 chips"),
        (WITH_GPU, replace(PROFILE, accelerator=Tpu("tpu-v6e-slice", "")), "topology"),
        (replace(REQUEST, gpu=16), replace(PROFILE, accelerator=Tpu("tpu-v6e-slice", "4x4")), "several hosts"),
    ],
)
def test_what_no_cluster_can_run_is_refused_with_its_reason(request_: Request, profile: Machine, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        made((request_, profile, CLUSTER))


def test_an_environment_is_the_profiles_image() -> None:
    made((replace(REQUEST, environment=DIGEST), PROFILE, CLUSTER))
    made((replace(REQUEST, environment="default"), PROFILE, CLUSTER))
    with pytest.raises(NotOffered):
        made((replace(REQUEST, environment="sha256:other"), PROFILE, CLUSTER))


def test_without_an_image_of_its_own_a_profile_runs_in_the_sites() -> None:
    plain = replace(PROFILE, image="")
    sites = replace(CLUSTER, image=f"registry.example/site@{DIGEST}")
    assert container(made((REQUEST, plain, sites)))["image"] == sites.image
    assert container(made((REQUEST, PROFILE, sites)))["image"] == PROFILE.image
    with pytest.raises(NotOffered, match="image"):
        made((REQUEST, plain, CLUSTER))


def test_a_volume_claim_with_data_sets_is_mounted_read_only() -> None:
    pod = made((REQUEST, replace(PROFILE, data=DataVolume("sets")), CLUSTER))
    claim = {"persistentVolumeClaim": {"claimName": "sets", "readOnly": True}}
    assert {"name": "data", **claim} in pod["spec"]["volumes"]
    assert {"name": "data", "mountPath": "/data", "readOnly": True} in container(pod)["volumeMounts"]
    assert "serviceAccountName" not in pod["spec"]


def test_a_bucket_is_mounted_read_only_as_an_account_that_reads_it_and_has_no_token_in_the_pod() -> None:
    online = replace(REQUEST, network=Network.INTERNET)
    pod = made((online, replace(PROFILE, data=DataVolume("", "sets", "sets-reader")), CLUSTER))
    annotations = pod["metadata"]["annotations"]
    assert annotations["gke-gcsfuse/volumes"] == "true"
    # A quota asks for what it limits of the container that mounts, too, which says it only where it is told to.
    quota = namespace.resource_quota(CLUSTER, Quota(1, 1, 1, 1))["spec"]["hard"]
    limited = [name.removeprefix("limits.") for name in quota if name.startswith("limits.")]
    assert limited
    assert all(annotations[f"gke-gcsfuse/{resource}-limit"] for resource in limited)
    mounted = next(volume["csi"] for volume in pod["spec"]["volumes"] if volume["name"] == "data")
    assert (mounted["readOnly"], mounted["volumeAttributes"]["bucketName"]) == (True, "sets")
    assert (pod["spec"]["serviceAccountName"], pod["spec"]["automountServiceAccountToken"]) == ("sets-reader", False)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (DataVolume(), "one of them"),
        (DataVolume("sets", "sets", "reader"), "one of them"),
        (DataVolume("", "sets"), "service account"),
        (DataVolume("sets", "", "reader"), "service account"),
        (DataVolume("", "sets", "reader"), "internet"),
    ],
)
def test_data_that_cannot_be_mounted_is_refused(data: DataVolume, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        made((REQUEST, replace(PROFILE, data=data), CLUSTER))


def test_a_package_index_is_offered_only_where_there_is_one() -> None:
    with pytest.raises(NotOffered):
        made((request_for(Network.INDEX), PROFILE, replace(CLUSTER, index_url="")))
