"""The chart: what `helm template` makes is what the code says, meets Pod Security, and wrong values are refused."""

from __future__ import annotations

import copy
import ipaddress
import json
import os
import re
import shutil
import subprocess
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from classroom import work_storage
from classroom.machine_values import KEYS, entry_of, mistakes
from classroom.places import CHECKOUT
from runtimes import alive
from runtimes.models import Profile
from runtimes.pods import namespace
from runtimes.pods.config import ClusterConfig
from runtimes.pods.namespace import Quota
from runtimes.pods.network import CLIENTS
from tests.architecture.test_docs import documented
from tests.runtimes.pods.policies import Cluster, Outside, Pod, selects
from tests.runtimes.pods.restricted import violations
from tests.runtimes.pods.samples import CLUSTER

CHART = CHECKOUT / "deploy" / "helm" / "pupitre"
GUIDE = (CHECKOUT / "docs" / "operate.md").read_text()
HELM = shutil.which("helm")
KUBERNETES = "1.35.4"
GIB = 1 << 30
SCHOOL = {
    "host": "learn.school.example",
    "notebookDomain": "notebooks.school-work.example",
    "image": {"repository": "registry.example/site", "digest": "sha256:" + "cd" * 32},
    "existingSecret": "pupitre",
}
BARE = ClusterConfig(site="pupitre", namespace="pupitre-runtimes", site_namespace="teaching", service_account="pupitre")

KERNEL = "registry.example/kernel@sha256:" + "ab" * 32

pytestmark = pytest.mark.skipif(HELM is None, reason="NO HELM on PATH: the chart is not tested")


def helm(
    tmp_path: Path, values: dict[str, Any], *, release: str = "pupitre", into: str = "teaching", **files: str
) -> Any:
    """Everything that an installation would make, hooks included, or Helm's refusal as text."""
    chosen = tmp_path / "values.yaml"
    chosen.write_text(yaml.safe_dump(values))
    named = [word for name in files.values() for word in ("--values", str(CHART / name))]
    command = [HELM or "", "template", release, str(CHART), "--namespace", into, "--kube-version", KUBERNETES]
    done = subprocess.run([*command, *named, "--values", str(chosen)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        return done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`base` with `more` over it, level by level, as Helm merges values."""
    found = copy.deepcopy(base)
    for key, value in more.items():
        found[key] = merged(found.get(key, {}), value) if isinstance(value, dict) else value
    return found


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All of it: a way in, backups, a mirror of package indexes."""
    more = {
        "kernels": {"index": {"url": "http://devpi:3141/", "namespace": "mirrors", "labels": {"app": "devpi"}}},
        "commands": {"backup": {"existingClaim": "backups"}},
        "networkPolicies": {
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "way-in"}}}]
        },
        "settings": {"TIME_ZONE": "Europe/Paris", "RUNTIMES_MOST": 80},
    }
    made = helm(tmp_path_factory.mktemp("chart"), merged(SCHOOL, more))
    assert isinstance(made, list), made
    return made


def of_kind(made: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [each for each in made if each["kind"] in kinds]


def pods(made: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every pod's template, by its component."""
    found = [each["spec"]["template"] for each in of_kind(made, "Deployment", "Job")]
    found += [each["spec"]["jobTemplate"]["spec"]["template"] for each in of_kind(made, "CronJob")]
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in found}


# --- the runtimes' namespace


def in_order(manifest: dict[str, Any]) -> dict[str, Any]:
    """With exceptions of a block of addresses as the fewest networks: what it closes, however it is written."""

    def tidy(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: closed(each) if key == "except" else tidy(each) for key, each in value.items()}
        return [tidy(each) for each in value] if isinstance(value, list) else value

    def closed(texts: list[str]) -> list[str]:
        networks: list[Any] = [ipaddress.ip_network(text) for text in texts]
        return [str(each) for each in ipaddress.collapse_addresses(networks)]

    return dict(tidy(manifest))


def key(manifest: dict[str, Any]) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def of_runtimes(made: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    theirs = [
        each for each in made if each["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "pupitre-runtime"
    ]
    return {key(each): in_order(each) for each in theirs}


def said(config: ClusterConfig, quota: Quota) -> dict[tuple[str, str], dict[str, Any]]:
    made = [*namespace.objects(config, quota), *namespace.node_reader(config)]
    return {key(each): in_order(each) for each in made}


def test_the_namespace_of_runtimes_is_what_the_code_says(tmp_path: Path) -> None:
    quota = {"pods": 300, "cpu": 200, "memory": str(800 * GIB), "scratch": str(2048 * GIB)}
    made = helm(tmp_path, merged(SCHOOL, {"kernels": {"quota": quota}}))
    assert of_runtimes(made) == said(BARE, Quota(300, 200, 800 * GIB, 2048 * GIB))


def test_so_it_is_with_a_mirror_accelerators_and_networks_of_a_cluster(tmp_path: Path) -> None:
    index = {"url": CLUSTER.index_url, "namespace": "mirrors", "labels": {"app": "devpi"}, "port": 3141}
    kernels = {
        "namespace": CLUSTER.namespace,
        "clusterNetworks": list(CLUSTER.cluster_networks),
        "dnsNetworks": list(CLUSTER.dns_networks),
        "index": index,
        "quota": {
            "pods": 40,
            "cpu": "64",
            "memory": str(64 * GIB),
            "scratch": str(GIB),
            "accelerators": {"nvidia.com/gpu": 16, "google.com/tpu": 8},
        },
    }
    made = helm(tmp_path, merged(SCHOOL, {"kernels": kernels}), release=CLUSTER.site, into=CLUSTER.site_namespace)
    quota = Quota(40, 64, 64 * GIB, GIB, {"nvidia.com/gpu": 16, "google.com/tpu": 8})
    ours = ClusterConfig(
        **{name: getattr(CLUSTER, name) for name in CLUSTER.__slots__} | {"service_account": CLUSTER.site}
    )
    assert of_runtimes(made) == said(ours, quota)


def test_only_runtimes_has_a_token_and_it_is_that_of_the_role(school: list[dict[str, Any]]) -> None:
    tokens = {name for name, pod in pods(school).items() if pod["spec"]["automountServiceAccountToken"]}
    assert tokens == {"runtimes"}
    [binding] = of_kind(school, "RoleBinding")
    [account] = binding["subjects"]
    assert pods(school)["runtimes"]["spec"]["serviceAccountName"] == account["name"]
    assert ("ServiceAccount", account["name"]) in {key(each) for each in school}
    assert not of_kind(school, "Secret")
    [beyond] = of_kind(school, "ClusterRole")
    assert beyond["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]


def test_without_the_right_to_see_nodes_it_has_none_beyond_its_namespace(tmp_path: Path) -> None:
    made = helm(tmp_path, merged(SCHOOL, {"kernels": {"seesNodes": False}}))
    assert isinstance(made, list), made
    assert not of_kind(made, "ClusterRole", "ClusterRoleBinding")


def test_the_sites_pods_reach_runtimes_by_their_labels(school: list[dict[str, Any]]) -> None:
    [policy] = [each for each in of_kind(school, "NetworkPolicy") if each["metadata"]["name"] == "pupitre-site"]
    [peer] = policy["spec"]["ingress"][0]["from"]
    reach = {name for name, pod in pods(school).items() if selects(peer["podSelector"], pod["metadata"]["labels"])}
    assert reach == set(CLIENTS)


# --- the site's own pods


PODS = ("site", "runtimes", "worker", "beat", "migrate", "machines", "sweep-files", "backup")


def test_every_pod_of_the_site_is_restricted_with_a_read_only_root_and_limits(school: list[dict[str, Any]]) -> None:
    assert pods(school).keys() == set(PODS)
    for name, pod in pods(school).items():
        assert violations(pod) == [], name
        [container] = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        assert container["resources"]["limits"].keys() >= {"memory", "ephemeral-storage"}, name
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
        assert not pod["spec"]["enableServiceLinks"], name


def test_every_command_of_manage_that_a_pod_runs_exists(school: list[dict[str, Any]]) -> None:
    arguments = [pod["spec"]["containers"][0]["args"] for pod in pods(school).values()]
    named = {words[2] for words in arguments if words[:2] == ["python", "manage.py"]}
    assert named == {"serve", "runtimes", "migrate", "apply_machines", "sweep_files", "backup"}
    assert named <= get_commands().keys()


def test_what_people_make_is_on_the_volume_for_whoever_reads_or_writes_it(school: list[dict[str, Any]]) -> None:
    for name in ("site", "runtimes", "worker", "sweep-files", "backup"):
        spec = pods(school)[name]["spec"]
        claims = {each["name"]: each.get("persistentVolumeClaim", {}).get("claimName") for each in spec["volumes"]}
        mounts = {each["mountPath"]: each["name"] for each in spec["containers"][0]["volumeMounts"]}
        assert claims[mounts["/srv/pupitre/work"]] == "pupitre-files", name
    [claim] = of_kind(school, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_database_is_migrated_before_anything_new_runs(school: list[dict[str, Any]]) -> None:
    [job] = [each for each in of_kind(school, "Job") if key(each) == ("Job", "pupitre-migrate")]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    # What the chart itself makes is not there yet.
    assert [each for each in pods(school)["migrate"]["spec"]["volumes"] if "emptyDir" not in each] == []


def test_helm_waits_longer_than_the_jobs_of_the_chart_wherever_the_guide_calls_it(school: list[dict[str, Any]]) -> None:
    longest = max(each["spec"]["activeDeadlineSeconds"] for each in of_kind(school, "Job"))
    called = re.findall(r"^ *helm .*$", GUIDE.replace("\\\n", " "), re.MULTILINE)
    assert len(called) == 4
    for line in called:
        # What failed at first goes on by the same command: `helm install` would say that the name is in use.
        assert line.strip().startswith("helm upgrade "), line
        minutes = re.search(r" --timeout (\d+)m\b", line)
        assert minutes, line
        assert int(minutes[1]) * 60 > longest, line


def test_whoever_restores_waits_for_every_process_and_suspends_every_clock(
    school: list[dict[str, Any]],
) -> None:
    awaited = re.search(r"wait pod --for=delete --selector='app.kubernetes.io/component in \(([^)]*)\)'", GUIDE)
    processes = {each["metadata"]["labels"]["app.kubernetes.io/component"] for each in of_kind(school, "Deployment")}
    assert awaited
    assert set(awaited[1].split(", ")) == processes
    suspended = re.search(r"patch cronjob (.+) --patch .+:true", GUIDE)
    assert suspended
    assert set(suspended[1].split()) == {each["metadata"]["name"] for each in of_kind(school, "CronJob")}
    # Any other number than 0 would be kubectl's from then on, and Helm 4 (server-side apply) refuses to set it back.
    scaled = re.findall(r"scale deployment (\S+) --replicas=(\S+)$", GUIDE, re.MULTILINE)
    assert scaled == [("--selector=app.kubernetes.io/instance=pupitre", "0")]
    assert all(
        each["metadata"]["labels"]["app.kubernetes.io/instance"] == "pupitre" for each in of_kind(school, "Deployment")
    )


def test_what_the_guide_puts_into_the_sites_namespace_comes_after_it() -> None:
    made = GUIDE.index("kubectl create namespace pupitre\n")
    assert not re.search(r"namespace: pupitre\b|--namespace pupitre\b", GUIDE[:made])


def test_the_values_of_the_guide_are_whole(tmp_path: Path) -> None:
    [written] = re.findall(r"^```\n# values-school\.yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert written.count("sha256:…") == 2
    yours = yaml.safe_load(written.replace("sha256:…", "sha256:" + "cd" * 32))
    made = helm(tmp_path, yours, into="pupitre")
    assert isinstance(made, list), made
    assert {"site", "runtimes", "worker", "beat"} <= pods(made).keys()
    assert [one for entry in machines_of(made) for one in mistakes(entry)] == []
    for name, pod in pods(made).items():
        [container] = pod["spec"]["containers"]
        [secret] = container["envFrom"]
        assert f"create secret generic {secret['secretRef']['name']} " in GUIDE, name
        assert settings_of(container)["BEHIND_PROXY"] == "1", name
    site = Pod("pupitre", pods(made)["site"]["metadata"]["labels"])
    cluster = Cluster(of_kind(made, "NetworkPolicy"))
    assert cluster.may_connect(Pod("ingress-nginx"), site, 8000)
    assert not cluster.may_connect(Pod("elsewhere"), site, 8000)


def test_pods_have_settings_that_exist_and_no_secret_but_by_reference(school: list[dict[str, Any]]) -> None:
    for pod in pods(school).values():
        [container] = pod["spec"]["containers"]
        variables = {each["name"]: each["value"] for each in container["env"]}
        assert variables.keys() <= documented()
        assert not {"SECRET_KEY", "MASTER_KEY", "DATABASE_URL", "REDIS_URL"} & variables.keys()
        assert container["envFrom"] == [{"secretRef": {"name": "pupitre"}}]
        assert variables["SITE_ORIGIN"] == "https://learn.school.example"
        assert variables["NOTEBOOK_ORIGIN"] == "https://*.notebooks.school-work.example"
        assert (variables["BEHIND_PROXY"], variables["RUNTIMES_MOST"]) == ("1", "80")
        assert (variables["PODS_SITE_NAMESPACE"], variables["PODS_NAMESPACE"]) == ("teaching", "pupitre-runtimes")


def test_the_way_in_leads_pages_and_every_notebook_to_the_site(school: list[dict[str, Any]]) -> None:
    [ingress], [service] = of_kind(school, "Ingress"), of_kind(school, "Service")
    assert {rule["host"] for rule in ingress["spec"]["rules"]} == {
        "learn.school.example",
        "*.notebooks.school-work.example",
    }
    served = [
        name
        for name, pod in pods(school).items()
        if selects({"matchLabels": service["spec"]["selector"]}, pod["metadata"]["labels"])
    ]
    assert served == ["site"]
    probe = pods(school)["site"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]
    assert {"name": "Host", "value": "learn.school.example"} in probe["httpHeaders"]


@pytest.mark.parametrize("process", ["runtimes", "worker", "beat"])
def test_a_process_without_a_port_is_asked_for_the_file_that_its_loop_touches(
    school: list[dict[str, Any]], process: str
) -> None:
    [container] = pods(school)[process]["spec"]["containers"]
    for probe in (container["startupProbe"], container["livenessProbe"]):
        asks = probe["exec"]["command"]
        place = f"{settings_of(container)['DATA_DIR']}/run/{alive.path(process).name}"
        assert asks == ["sh", "-c", f"test -n \"$(find {place} -newermt '60 seconds ago')\""]
    # What hangs is not waited for as long as what grades.
    assert container["livenessProbe"]["terminationGracePeriodSeconds"] == 10


@pytest.mark.parametrize("age", [None, 5, 100])
def test_the_file_of_a_loop_that_hangs_is_too_old(
    school: list[dict[str, Any]], tmp_path: Path, age: int | None
) -> None:
    [container] = pods(school)["worker"]["spec"]["containers"]
    sign = tmp_path / "alive.worker"
    if age is not None:
        sign.touch()
        os.utime(sign, (time.time() - age,) * 2)
    asks = [word.replace("/srv/pupitre/run", str(tmp_path)) for word in container["livenessProbe"]["exec"]["command"]]
    assert (subprocess.run(asks, stderr=subprocess.DEVNULL).returncode == 0) is (age == 5)


def settings_of(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"]}


def test_pages_are_reached_from_the_way_in_and_nothing_else_of_the_site_by_anybody(
    school: list[dict[str, Any]],
) -> None:
    cluster = Cluster(of_kind(school, "NetworkPolicy"))
    ends = {name: Pod("teaching", pod["metadata"]["labels"]) for name, pod in pods(school).items()}
    way_in, runtime = Pod("way-in"), Pod("pupitre-runtimes", {"app.kubernetes.io/name": "pupitre-runtime"})
    assert cluster.may_connect(way_in, ends["site"], 8000)
    for source in (way_in, runtime, Pod("elsewhere"), Outside("192.0.2.7")):
        reached = {name for name, end in ends.items() if cluster.may_connect(source, end, 8000)}
        assert reached == ({"site"} if source is way_in else set())


# --- machines

LAB: dict[str, Any] = {"slug": "lab", "name": "Lab", "cpu": 0.5, "memory": "4Gi", "warm": 2}
L4: dict[str, Any] = {"slug": "l4", "name": "L4", "gpu": 1, "model": "nvidia-l4", "fallback": "lab"}


def machines_of(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is applied: the file that the hook's pod has mounted where its command reads it."""
    [folder] = [each for each in of_kind(made, "ConfigMap") if each["metadata"]["name"] == "pupitre-machines"]
    [job] = [each for each in of_kind(made, "Job") if key(each) == ("Job", "pupitre-machines")]
    assert "post-install" in job["metadata"]["annotations"]["helm.sh/hook"]
    assert "post-upgrade" in job["metadata"]["annotations"]["helm.sh/hook"]
    spec = pods(made)["machines"]["spec"]
    mounts = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert volumes["machines"]["configMap"]["name"] == folder["metadata"]["name"]
    [name] = folder["data"]
    assert f"{mounts['machines']}/{name}" in spec["containers"][0]["args"]
    return list(json.loads(folder["data"][name]))


def test_machines_are_applied_after_each_install_and_upgrade_as_values_have_them(
    tmp_path: Path, school: list[dict[str, Any]]
) -> None:
    made = helm(tmp_path, merged(SCHOOL, {"kernels": {"image": KERNEL}, "machines": [LAB, L4]}))
    assert isinstance(made, list), made
    assert machines_of(made) == [LAB, L4]
    [job] = [each for each in of_kind(made, "Job") if key(each) == ("Job", "pupitre-machines")]
    patience, keeper = pods(made)["machines"]["spec"]["containers"][0]["args"][-4:][1::2]
    assert keeper == "Helm release pupitre"
    # The last `runtimes` may take its grace to go, and there is time to try others afterwards.
    assert 60 < float(patience) < job["spec"]["activeDeadlineSeconds"] / 2
    # None at all is applied, too: what was named before is then kept by nobody.
    assert machines_of(school) == []


def test_the_chart_knows_every_key_of_a_machine_and_values_say_what_it_is() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())["properties"]["machines"]["items"]
    assert schema["properties"].keys() == KEYS.keys()
    text = (CHART / "values.yaml").read_text().split("# --- machines")[1]
    assert [name for name in KEYS if f"{name}: " not in text] == []


def test_what_the_site_shows_of_a_machine_the_chart_takes(tmp_path: Path) -> None:
    profile = Profile(
        slug="whole", name="Whole", gpu=8, accelerator="tpu", accelerator_model="tpu-v6e-slice",
        accelerator_topology="2x4", cpu=Decimal("2.5"), idle_timeout=timedelta(minutes=90), scratch_bytes=3 * GIB // 2,
        timetable=[{"day": "sun", "from": "00:00", "to": "23:59", "warm": 1000}], node_selector={"a/b": ""},
        tolerations=[{"key": "lab", "operator": "Equal", "value": "x", "effect": "NoExecute", "tolerationSeconds": 9}],
        network="internet", isolation="strict", data_bucket="sets", data_service_account="reader", for_all=False,
        time_zone="America/Argentina/Buenos_Aires", image=KERNEL, runtime_class="gvisor", preload=["os.path"],
    )  # fmt: skip
    made = helm(tmp_path, merged(SCHOOL, {"machines": [entry_of(profile)]}))
    assert isinstance(made, list), made
    assert machines_of(made) == [entry_of(profile)]


# --- files in a bucket

BUCKET = {
    "storage": {"objects": "s3://school/pupitre?region=eu-west-3", "identity": {"eks.amazonaws.com/role-arn": "arn:x"}},
    "settings": {"EMAIL_HOST": "mail.school.example"},
}
USES_FILES = {"site", "runtimes", "worker", "sweep-files"}


def mounted(pod: dict[str, Any]) -> set[str]:
    return {each["mountPath"] for each in pod["spec"]["containers"][0]["volumeMounts"]}


def test_with_a_bucket_the_site_needs_no_volume(tmp_path: Path) -> None:
    made = helm(tmp_path, merged(SCHOOL, BUCKET))
    assert isinstance(made, list), made
    assert not of_kind(made, "PersistentVolumeClaim")
    for name, pod in pods(made).items():
        # Nor has what is applied to machines anything but what it reads.
        own = {"/etc/pupitre"} if name == "machines" else set()
        assert not any("persistentVolumeClaim" in each for each in pod["spec"]["volumes"]), name
        assert mounted(pod) == {"/srv/pupitre", "/tmp"} | own, name
        variables = {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}
        assert (variables["WORK_STORAGE"], variables["DRIVE_BACKEND"]) == (BUCKET["storage"]["objects"], ""), name
        assert work_storage.backend(variables["WORK_STORAGE"], tmp_path)["OPTIONS"]["bucket_name"] == "school"


def test_the_cloud_knows_whoever_uses_the_bucket_and_nobody_else(tmp_path: Path) -> None:
    made = helm(tmp_path, merged(SCHOOL, BUCKET))
    known = {
        each["metadata"]["name"]
        for each in of_kind(made, "ServiceAccount")
        if each["metadata"].get("annotations") == BUCKET["storage"]["identity"]
    }
    spec = {name: pod["spec"] for name, pod in pods(made).items()}
    assert {name for name in spec if spec[name].get("serviceAccountName") in known} == USES_FILES
    assert {name for name in spec if spec[name]["automountServiceAccountToken"]} == {"runtimes"}
    bound = {subject["name"] for each in of_kind(made, "RoleBinding") for subject in each["subjects"]}
    assert bound == {spec["runtimes"]["serviceAccountName"]}, "the others may do nothing in the cluster"


def test_a_claim_beside_the_bucket_keeps_letters_and_a_drive(tmp_path: Path) -> None:
    made = helm(tmp_path, merged(SCHOOL, {"storage": {"objects": "gs://school", "existingClaim": "kept"}}))
    assert isinstance(made, list), made
    assert mounted(pods(made)["worker"]) >= {"/srv/pupitre/mail", "/srv/pupitre/drive"}
    assert "/srv/pupitre/work" not in mounted(pods(made)["worker"])


# --- values


@pytest.mark.parametrize("file", ["values-laptop.yaml", "values-gke-gpu.yaml"])
def test_the_values_for_a_laptop_and_for_gke_are_whole(tmp_path: Path, file: str) -> None:
    yours: dict[str, Any] = {"kernels": {"image": KERNEL}}
    yours |= (
        {"image": {"repository": "registry.example/site", "digest": "sha256:" + "cd" * 32}} if "gke" in file else {}
    )
    yours |= {"host": "learn.school.example", "notebookDomain": "notebooks.example"} if "gke" in file else {}
    yours |= {"storage": {"objects": "gs://school/pupitre"}} if "gke" in file else {}
    made = helm(tmp_path, yours, file=file)
    assert isinstance(made, list), made
    assert {"site", "runtimes", "worker", "beat"} <= pods(made).keys()
    # What the schema lets through, the site takes: a fallback is one of these, too.
    assert [one for entry in machines_of(made) for one in mistakes(entry)] == []
    assert "standard" in [entry["slug"] for entry in machines_of(made)]


def test_every_value_is_commented_and_has_a_place_in_the_schema() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) <= schema["properties"].keys()
    assert set(schema["properties"]["settings"]["propertyNames"]["enum"]) == documented(), (
        "the names of docs/settings.md are listed once more in values.schema.json"
    )
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r"\w+:", line) and "#" not in line and not before.startswith("#")
    ]
    assert bare == []


REFUSED = {
    "no host": ({"host": ""}, "host is empty: set it to the host of the pages"),
    "no secret": ({"existingSecret": ""}, "make a Secret with DATABASE_URL"),
    "notebooks over the pages": ({"notebookDomain": "school.example"}, "a notebook could read the pages' cookies"),
    "no encryption": ({"tls": False}, "people would sign in without encryption"),
    "a secret among settings": ({"settings": {"SECRET_KEY": "x"}}, "settings.SECRET_KEY is a secret"),
    "a setting that the chart makes": ({"settings": {"PODS_IMAGE": "x"}}, "settings.PODS_IMAGE is set by the chart"),
    "a setting that is none": ({"settings": {"COLOUR": "blue"}}, "invalid propertyName 'COLOUR'"),
    "a value that is none": ({"sites": 3}, "additional properties 'sites' not allowed"),
    "no site at all": ({"site": {"replicas": 0}}, "'/site/replicas': minimum: got 0, want 1"),
    "an image of kernels by tag": ({"kernels": {"image": "kernel:latest"}}, "'/kernels/image'"),
    "names resolved by metadata": ({"kernels": {"dnsNetworks": ["169.254.169.254/32"]}}, "'/kernels/dnsNetworks/0'"),
    "a mirror without pods": ({"kernels": {"index": {"url": "http://x/"}}}, "must name the mirror's pods"),
    "runtimes beside the site": ({"kernels": {"namespace": "teaching"}}, "a namespace that has nothing else"),
    "a bucket and letters in pods": ({"storage": {"objects": "gs://school"}}, "Name a mail server, or"),
    "a key in the bucket's name": ({"storage": {"objects": "s3://key:hush@school"}}, "'/storage/objects'"),
    "an identity for nothing": (
        {"storage": {"identity": {"role": "arn:x"}}},
        "name the bucket that the identity may use",
    ),
    "a typing error in a machine": ({"machines": [LAB | {"memmory": "4Gi"}]}, "additional properties 'memmory'"),
    "a machine without a name": ({"machines": [{"slug": "lab"}]}, "'/machines/0': missing property 'name'"),
    "memory in other words": ({"machines": [LAB | {"memory": "4 GB"}]}, "'/machines/0/memory'"),
    "hours of no day": (
        {"machines": [LAB | {"timetable": [{"day": "Monday", "from": "09:00", "to": "10:00", "warm": 1}]}]},
        "'/machines/0/timetable/0/day'",
    ),
    "a machine without an image": ({"machines": [LAB]}, "lab has no image, and kernels.image is empty"),
    "two of one slug": ({"kernels": {"image": KERNEL}, "machines": [LAB, LAB]}, "there are two of the slug lab"),
    "a GPU and a TPU": ({"machines": [L4 | {"tpu": 1, "image": KERNEL}]}, "l4 has gpu and tpu"),
    "more GPUs than the quota": (
        {"kernels": {"image": KERNEL, "quota": {"accelerators": {"nvidia.com/gpu": 1}}}, "machines": [L4 | {"gpu": 2}]},
        "l4 takes 2 of nvidia.com/gpu, and kernels.quota.accelerators has 1",
    ),
    "a GPU to fall back to": (
        {"kernels": {"image": KERNEL}, "machines": [L4, LAB | {"gpu": 1}]},
        "lab is a fallback and has a GPU or TPU itself",
    ),
    "ready and retired": (
        {"machines": [LAB | {"image": KERNEL, "retired": True}]},
        "lab is retired: none is kept ready",
    ),
    "two sites on a volume of one": ({"storage": {"accessMode": "ReadWriteOnce"}}, "take ReadWriteMany"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_value_is_refused_with_a_sentence(tmp_path: Path, what: str) -> None:
    wrong, words = REFUSED[what]
    assert words in helm(tmp_path, merged(SCHOOL, wrong))
