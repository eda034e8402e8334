"""The cluster's API: the few calls that runtimes need, as dictionaries in and out. ONLY importer of kubernetes.

Its generated models are passed over: what we send and read are the dictionaries of `manifests` and `conditions`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

from runtimes.provider_errors import ProviderUnavailable

Json = dict[str, Any]
CALL_SECONDS = 20.0
#: The API ends a watch after so long, and it is begun again where it was.
WATCH_SECONDS = 240
_MOST_CONNECTIONS = 100
_JSON, _JSON_PATCH = "application/json", "application/json-patch+json"
_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class Refused(Exception):
    """The API's own no: HTTP status, its words, and its word for why (Kubernetes, "API Conventions": a Status's
    `reason`)."""

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.reason = reason

    @property
    def exists(self) -> bool:
        """There is an object of that name. 409 alone says no such thing: see `Cluster.create`."""
        return self.reason == "AlreadyExists"


class Contended(ProviderUnavailable):
    """Another API server counted against the quota at the same time; nothing was made (k8s.io/apiserver, quota)."""


class TooOld(Exception):
    """What is watched from is no longer known: list again."""


class Cluster:
    """One namespace of a cluster. Raises Refused for the API's no, ProviderUnavailable where it cannot be reached or
    is overloaded. `calls` counts requests."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.calls = 0
        self._client: ApiClient | None = None

    async def open(self) -> None:
        """As the service account of the pod that this process runs in; elsewhere as KUBECONFIG says."""
        configuration = Configuration()
        configuration.connection_pool_maxsize = _MOST_CONNECTIONS
        # Python 3.13 asks of authorities for extensions that those of many clusters lack (CPython, "ssl",
        # VERIFY_X509_STRICT). Chain and host name are checked all the same.
        configuration.disable_strict_ssl_verification = True
        try:
            if await asyncio.to_thread(_IN_CLUSTER.exists):
                load_incluster_config(client_configuration=configuration)
            else:
                await load_kube_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise ProviderUnavailable(
                f"no access to a cluster ({error}): run in one with a service account, or set KUBECONFIG"
            ) from error
        self._client = ApiClient(configuration)

    async def close(self) -> None:
        """Drops its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def create(self, manifest: Json, *, dry_run: bool = False) -> Json:
        """Makes a Pod or Secret, or only asks whether it could be made. Raises Contended, too."""
        kind = {"Pod": "pods", "Secret": "secrets"}[manifest["kind"]]
        query = [("dryRun", "All")] if dry_run else []
        try:
            return await self._call("POST", self._path(kind), query=query, body=manifest)
        except Refused as refusal:
            if refusal.reason != "Conflict":
                raise
            raise Contended(str(refusal)) from refusal

    async def pod(self, name: str) -> Json:
        """One pod as it is now."""
        return await self._call("GET", self._path("pods", name))

    async def patch_pod(self, name: str, operations: Sequence[Json]) -> Json:
        """Applies a JSON patch whole or, where one of its tests fails, not at all (Refused, 422)."""
        return await self._call("PATCH", self._path("pods", name), body=list(operations), content=_JSON_PATCH)

    async def resize_pod(self, name: str, operations: Sequence[Json]) -> Json:
        """The same of a running pod's resources (Refused, 404: a cluster that cannot, or no such pod)."""
        path = self._path("pods", f"{name}/resize")
        return await self._call("PATCH", path, body=list(operations), content=_JSON_PATCH)

    async def delete_pod(self, name: str, grace_seconds: int) -> None:
        """Asks for its end; one that is gone is no error."""
        try:
            await self._call("DELETE", self._path("pods", name), body={"gracePeriodSeconds": grace_seconds})
        except Refused as refusal:
            if refusal.code != 404:
                raise

    async def pods(self, selector: str) -> tuple[list[Json], str]:
        """Every pod that is selected, and the version from which `changes` goes on."""
        listed = await self._call("GET", self._path("pods"), query=[("labelSelector", selector)])
        return listed["items"], listed["metadata"]["resourceVersion"]

    async def changes(self, selector: str, version: str) -> AsyncIterator[tuple[str, Json]]:
        """ADDED, MODIFIED or DELETED with the pod; BOOKMARK with a version alone. Ends now and then. Raises TooOld."""
        query = [
            ("labelSelector", selector),
            ("resourceVersion", version),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(WATCH_SECONDS)),
        ]
        response = await self._send("GET", self._path("pods"), query=query, seconds=WATCH_SECONDS + CALL_SECONDS)
        try:
            async for line in response.content:
                change = json.loads(line)
                if change["type"] == "ERROR":
                    if change["object"].get("code") == 410:
                        raise TooOld
                    raise ProviderUnavailable(str(change["object"].get("message")))
                yield change["type"], change["object"]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ProviderUnavailable(f"the watch broke off: {error!r}") from error
        finally:
            response.close()

    async def allowed(self, verb: str, resource: str) -> bool:
        """Whether we may do this in the namespace."""
        attributes = {"namespace": self.namespace, "verb": verb, "resource": resource}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool((await self._call("POST", path, body=body))["status"]["allowed"])

    async def nodes(self) -> list[Json] | None:
        """Every node; None where we may not see them."""
        try:
            return list((await self._call("GET", "/api/v1/nodes"))["items"])
        except Refused as refusal:
            if refusal.code == 403:
                return None
            raise

    async def volume_claim(self, name: str) -> Json | None:
        """One PersistentVolumeClaim; None where we may not see any. Refused (404) where there is none."""
        try:
            return await self._call("GET", self._path("persistentvolumeclaims", name))
        except Refused as refusal:
            if refusal.code == 403:
                return None
            raise

    # --- inside

    def _path(self, kind: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    async def _call(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), body: Any = None, content: str = _JSON
    ) -> Json:
        response = await self._send(method, path, query=query, body=body, content=content)
        try:
            return dict(json.loads(await response.read()))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ProviderUnavailable(f"the cluster's answer broke off: {error!r}") from error

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        content: str = _JSON,
        seconds: float = CALL_SECONDS,
    ) -> aiohttp.ClientResponse:
        if self._client is None:
            raise ProviderUnavailable("the provider of pods was not started, or is closed")
        self.calls += 1
        headers = {"Accept": _JSON, "Content-Type": content}
        try:
            request = await self._client.param_serialize(
                method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(*request[:4], _request_timeout=seconds)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProviderUnavailable(f"the cluster cannot be reached: {error!r}") from error
        response: aiohttp.ClientResponse = answer.response
        if response.status < 300:
            return response
        raise _no(response.status, *await _told(response))


def _no(code: int, message: str, reason: str) -> Exception:
    if code == 410:
        return TooOld(message)
    if code in (401, 429) or code >= 500:
        return ProviderUnavailable(f"the cluster answers {code}: {message}")
    return Refused(code, message, reason)


async def _told(response: aiohttp.ClientResponse) -> tuple[str, str]:
    """What the API says, and its word for why; a proxy before it may say something else."""
    text = ""
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        text = await response.text()
    with suppress(ValueError, AttributeError):
        told: Mapping[str, Any] = json.loads(text)
        return str(told.get("message") or text), str(told.get("reason") or "")
    return text[:1000], ""


async def pause(seconds: float, woken: asyncio.Event) -> None:
    """Until something happens, at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()
    woken.clear()
