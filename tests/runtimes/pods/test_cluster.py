"""How the cluster's API is spoken to: whose certificates are believed."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from runtimes.pods.cluster import Cluster


async def test_a_clusters_own_authority_needs_no_extensions_and_is_checked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = ssl.create_default_context

    def as_of_python_3_13(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = default(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_of_python_3_13)
    path = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "https://cluster.example:6443"}}
    context = {"name": "here", "context": {"cluster": "c", "user": "u"}}
    whole = {
        "clusters": [cluster],
        "users": [{"name": "u", "user": {}}],
        "contexts": [context],
        "current-context": "here",
    }
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **whole}))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    site = Cluster("runtimes")
    await site.open()
    try:
        assert site._client is not None
        used: ssl.SSLContext = site._client.rest_client.ssl_context
        assert not used.verify_flags & ssl.VERIFY_X509_STRICT
        assert used.verify_mode is ssl.CERT_REQUIRED
        assert used.check_hostname
    finally:
        await site.close()
