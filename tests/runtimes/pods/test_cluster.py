"""How the cluster's API is spoken to: whose certificates are believed, and what its answers mean."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from runtimes import keyring
from runtimes.pods.cluster import Cluster, Contended, Refused
from runtimes.pods.maker import Maker
from tests.runtimes.pods.samples import CLUSTER, NAME, REQUEST, running, seen


def log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    path = tmp_path / "kubeconfig"
    context = {"name": "here", "context": {"cluster": "c", "user": "u"}}
    whole = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [context],
        "current-context": "here",
    }
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **whole}))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))


async def test_a_clusters_own_authority_needs_no_extensions_and_is_checked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = ssl.create_default_context

    def as_of_python_3_13(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = default(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_of_python_3_13)
    log_in(tmp_path, monkeypatch, "https://cluster.example:6443")
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


@asynccontextmanager
async def answering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, told: dict[str, Any]
) -> AsyncIterator[Cluster]:
    """An API that answers whatever is made so, and knows one pod."""

    async def post(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "status": "Failure", "code": code, **told}, status=code)

    async def get(_request: web.Request) -> web.Response:
        return web.json_response(seen(running()))

    app = web.Application()
    app.add_routes([web.post("/{path:.*}", post), web.get("/{path:.*}/" + NAME, get)])
    runner = web.AppRunner(app)
    await runner.setup()
    listens = web.TCPSite(runner, "127.0.0.1", 0)
    await listens.start()
    port = runner.addresses[0][1]
    log_in(tmp_path, monkeypatch, f"http://127.0.0.1:{port}")
    cluster = Cluster(CLUSTER.namespace)
    await cluster.open()
    try:
        yield cluster
    finally:
        await cluster.close()
        await runner.cleanup()


#: A quota's, where several API servers count (k8s.io/apiserver, quota; kubernetes issue 67761).
CONFLICT = {
    "reason": "Conflict",
    "message": 'Operation cannot be fulfilled on resourcequotas "kernels": the object has been modified; '
    "please apply your changes to the latest version and try again",
}


async def test_a_quota_that_somebody_else_counts_on_meanwhile_makes_nothing_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering(tmp_path, monkeypatch, 409, CONFLICT) as cluster:
        with pytest.raises(Contended, match="apply your changes to the latest version"):
            await Maker(cluster, CLUSTER, keyring.masters()).make(REQUEST, NAME)


async def test_what_exists_already_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"reason": "AlreadyExists", "message": f'pods "{NAME}" already exists'}
    async with answering(tmp_path, monkeypatch, 409, told) as cluster:
        pod = await Maker(cluster, CLUSTER, keyring.masters()).make(REQUEST, NAME)
    assert pod["metadata"]["name"] == NAME


async def test_another_no_is_the_apis_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(tmp_path, monkeypatch, 409, {"message": "not on Thursdays"}) as cluster:
        with pytest.raises(Refused, match="not on Thursdays"):
            await Maker(cluster, CLUSTER, keyring.masters()).make(REQUEST, NAME)
