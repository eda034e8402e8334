"""The site on a real cluster as docs/operate.md has it: namespaces, Secret, a volume, and Helm."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

from classroom.places import CHECKOUT
from runtimes.pods.config import ClusterConfig
from runtimes.pods.namespace import priority_classes
from tests.setup.bridge import LOOPBACK, Bridge, listening

CHART = CHECKOUT / "deploy" / "helm" / "pupitre"
WAIT_SECONDS = 300
#: Pods of the site write as a user that this machine does not have: the folder above is root's alone.
ANYBODY = 0o777
_IDLE = "import signal; signal.pause()"


class Release:
    """One installation, in namespaces of its own: `name` is the release's and the site's, `kernels` the other."""

    def __init__(self) -> None:
        self.name = f"pupitre-test-{secrets.token_hex(4)}"
        self.kernels = f"{self.name}-runtimes"
        self.folder = Path(tempfile.mkdtemp(prefix="pupitre-volume-"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _where: object) -> None:
        """Removes whatever is still there. Where the test failed, first says what its pods say."""
        if error is not None:
            print(self.told())
        self.remove()

    # --- the cluster's administrator

    def kubectl(self, *words: str, told: str | None = None) -> str:
        """What it prints, asked of the site's namespace. AssertionError with its words where it fails."""
        return _run("kubectl", "--namespace", self.name, *words, told=told)

    def make_namespace(self, image: str) -> Bridge:
        """The namespace, and the bridge that its pods are on: seen by the address of one."""
        self.kubectl("create", "namespace", self.name)
        self.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        self.kubectl("run", "where", f"--image={image}", "--image-pull-policy=Never", "--restart=Never", "--command",
                     "--", "python", "-c", _IDLE)  # fmt: skip
        self.kubectl("wait", "--for=jsonpath={.status.podIP}", "pod/where", "--timeout=60s")
        bridge = Bridge.to(self.kubectl("get", "pod/where", "--output=jsonpath={.status.podIP}"))
        self.kubectl("delete", "pod/where", "--now", "--wait=false")
        self.kubectl("label", "namespace", self.name, "pod-security.kubernetes.io/enforce=restricted")
        return bridge

    def share_priorities(self) -> None:
        """Priority classes are the whole cluster's: where other tests have made them, no release can."""
        config = ClusterConfig(site="tests", namespace=self.kernels, site_namespace=self.name)
        classes = {"apiVersion": "v1", "kind": "List", "items": priority_classes(config)}
        self.kubectl("apply", "--filename=-", told=json.dumps(classes))

    def make_secret(self, **literals: str) -> None:
        """The Secret that the chart is given by name."""
        keys = {name: secrets.token_hex(32) for name in ("SECRET_KEY", "MASTER_KEY")}
        words = [f"--from-literal={name}={text}" for name, text in (literals | keys).items()]
        self.kubectl("create", "secret", "generic", "pupitre", *words)

    def make_volume(self) -> None:
        """A volume for the claim that the chart makes: a folder of the node, which is this machine."""
        place = self.folder / "files"
        place.mkdir()
        place.chmod(ANYBODY)
        spec = {
            "capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": self.name, "name": f"{self.name}-files"},
            "hostPath": {"path": str(place)},
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": self.name}, "spec": spec}
        self.kubectl("apply", "--filename=-", told=json.dumps(volume))

    # --- Helm

    def helm(self, verb: str, values: Mapping[str, Any], api: str) -> None:
        """Helm installs or upgrades, and waits, with a laptop's values and these. api: the API's URL for pods."""
        chosen = self.folder / "values.yaml"
        chosen.write_text(yaml.safe_dump(dict(values)))
        relay = urlsplit(api)
        renderer = [str(Path(__file__).with_name("api_address.py")), str(relay.hostname), str(relay.port)]
        laptop = CHART / "values-laptop.yaml"
        _run("helm", verb, self.name, str(CHART), "--namespace", self.name, "--values", str(laptop),
             "--values", str(chosen), "--wait", f"--timeout={WAIT_SECONDS}s", "--post-renderer", sys.executable,
             *(word for argument in renderer for word in ("--post-renderer-args", argument)))  # fmt: skip

    def uninstall(self) -> None:
        """As docs/operate.md says."""
        _run("helm", "uninstall", self.name, "--namespace", self.name, "--wait", f"--timeout={WAIT_SECONDS}s")

    # --- what is there

    def api(self) -> str:
        """The API's URL, as this machine has it."""
        return self.kubectl("config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}")

    def manage(self, *words: str) -> str:
        """What a command of `manage.py` prints, run in the site's pod."""
        return self.kubectl("exec", f"deployment/{self.name}-site", "--", "python", "manage.py", *words)

    def hang(self, process: str) -> None:
        """Stops `runtimes`, a worker or beat as nothing but a signal does: it is there, and does nothing."""
        stop = "kill -STOP $(cat /proc/1/task/1/children)"
        self.kubectl("exec", f"deployment/{self.name}-{process}", "--", "sh", "-c", stop)

    def starts_again(self, process: str) -> bool:
        """Whether a container of that process was started again, and is ready."""
        found = self.kubectl("get", "pods", f"--selector=app.kubernetes.io/component={process}", "--output=json")
        seen = [each for pod in json.loads(found)["items"] for each in pod["status"].get("containerStatuses", ())]
        return any(each["restartCount"] and each["ready"] for each in seen)

    def pods(self, namespace: str, selector: str = "") -> set[str]:
        """Those that nobody ends, as name/uid."""
        words = ("--namespace", namespace, "get", "pods", f"--selector={selector}", "--output=json")
        found = [pod["metadata"] for pod in json.loads(_run("kubectl", *words))["items"]]
        return {f"{each['name']}/{each['uid']}" for each in found if "deletionTimestamp" not in each}

    def labelled(self) -> set[str]:
        """Everything of every kind, in every namespace, that has the release's label, as kind/name."""
        kinds = _run("kubectl", "api-resources", "--verbs=list", "--output=name").split()
        selector = f"--selector=app.kubernetes.io/instance={self.name}"
        return set(_run("kubectl", "get", ",".join(kinds), "--all-namespaces", selector, "--output=name").split())

    @contextmanager
    def reached(self, port: int) -> Iterator[str]:
        """The site's address on this machine, where its Service is reached meanwhile, whichever pods serve."""
        there = self.kubectl("get", f"service/{self.name}", "--output=jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")
        listen = f"TCP4-LISTEN:{port},bind={LOOPBACK},backlog=64,fork,reuseaddr"
        with listening(LOOPBACK, port, "socat", listen, f"TCP4:{there}"):
            yield f"http://{LOOPBACK}:{port}"

    # --- its end

    def told(self) -> str:
        """What pods are there and the end of what each says, for a test that fails."""
        pods = _said("kubectl", "get", "pods", "--all-namespaces", "--output=wide")
        logs = _said("kubectl", "--namespace", self.name, "logs", "--selector=app.kubernetes.io/name=pupitre",
                     "--all-containers", "--prefix", "--tail=60", "--ignore-errors")  # fmt: skip
        return f"{pods}\n{logs}"

    def remove(self) -> None:
        """Whatever is still there, in whatever state."""
        _said("helm", "uninstall", self.name, "--namespace", self.name, "--no-hooks", "--ignore-not-found")
        both = (self.name, self.kernels)
        _said("kubectl", "delete", "namespace", *both, "--ignore-not-found", f"--timeout={WAIT_SECONDS}s")
        _said("kubectl", "delete", f"persistentvolume/{self.name}", "--ignore-not-found", "--timeout=60s")
        shutil.rmtree(self.folder, ignore_errors=True)


def until(holds: Callable[[], bool], told: Callable[[], object]) -> None:
    """Waits until it holds. AssertionError with what is `told` if it does not in time."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, told()
        time.sleep(0.2)


def _run(*command: str, told: str | None = None) -> str:
    given = {"stdin": subprocess.DEVNULL} if told is None else {"input": told}
    done = subprocess.run(command, capture_output=True, text=True, **given)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def _said(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stdout + done.stderr
