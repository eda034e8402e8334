"""For `helm --post-renderer`: the test cluster's API listens on loopback alone, so pods are told of a relay to it.

python tests/setup/api_address.py ADDRESS PORT < manifests > manifests
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

#: A name that every cluster's certificate has.
API = "kubernetes.default.svc"


def told(manifest: dict[str, Any], address: str, port: str) -> dict[str, Any]:
    """The same, where its pods speak to the API with the relay's address."""
    if manifest["kind"] == "Deployment" and manifest["spec"]["template"]["spec"].get("serviceAccountName"):
        pod = manifest["spec"]["template"]["spec"]
        pod["hostAliases"] = [{"ip": address, "hostnames": [API]}]
        pod["containers"][0]["env"] += [
            {"name": "KUBERNETES_SERVICE_HOST", "value": API},
            {"name": "KUBERNETES_SERVICE_PORT", "value": port},
        ]
    return manifest


if __name__ == "__main__":
    manifests = [told(each, *sys.argv[1:]) for each in yaml.safe_load_all(sys.stdin) if each]
    yaml.safe_dump_all(manifests, sys.stdout)
