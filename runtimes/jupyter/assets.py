"""The front end's files, the same for every workspace: compressed once, kept by browsers for ever."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import mimetypes
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import brotli
from django.conf import settings
from starlette.requests import Request
from starlette.responses import Response

from runtimes.jupyter import frontend
from runtimes.jupyter.entry import Scope, header
from runtimes.jupyter.gate import Receive, Send

ROOTS = {
    "notebook": frontend.PACKAGE / "static",
    "extensions": frontend.LABEXTENSIONS,
    "themes": frontend.THEMES,
    "favicons": frontend.FAVICONS,
    "own": frontend.OWN_ASSETS,
}
# What the front end always asks for at the workspace's own host (it ignores fullThemesUrl).
ALIASES = {"/lab/api/themes/": "themes", "/static/favicons/": "favicons"}
_COMPRESSIBLE = {".js", ".css", ".json", ".svg", ".ico", ".txt", ".map", ".html"}
_SMALLEST_COMPRESSED = 500
_TYPES = {".js": "text/javascript", ".woff2": "font/woff2", ".map": "application/json"}
FOREVER = "public, max-age=31536000, immutable"
A_WHILE = "public, max-age=600"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it goes over the wire. `encoding` is "", "br" or "gzip"."""

    body: bytes
    media_type: str
    encoding: str


class Assets:
    """Finds, compresses and remembers files. At most the front end's own size in memory: about 20 MB."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Asset] = {}
        # Named by content: beside the environments, for every clone and every test of this machine.
        self._cache_dir = Path(settings.ENVIRONMENTS_DIR) / "front-end"
        self._compressing = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The static host: /<key>/<root>/<path>."""
        _slash, key, *rest = scope["path"].split("/", 2)
        response = Response("Not found", 404, media_type="text/plain")
        if scope["method"] in {"GET", "HEAD"} and rest:
            # A page of the version before may ask for its files while servers change: served, not for ever.
            response = await self.response(scope, rest[0], FOREVER if key == frontend.key() else A_WHILE)
        response.headers["access-control-allow-origin"] = "*"
        response.headers["cross-origin-resource-policy"] = "cross-origin"
        response.headers["x-content-type-options"] = "nosniff"
        await response(scope, receive, send)

    async def response(self, scope: Scope, name: str, cache_control: str) -> Response:
        """The file `name` (root/path) as the browser can read it, or 404."""
        accepted = header(scope, b"accept-encoding") or ""
        encoding = next((code for code in ("br", "gzip") if code in accepted), "")
        asset = self._kept.get((name, encoding)) or await asyncio.to_thread(self._load, name, encoding)
        if asset is None:
            return Response("Not found", 404, media_type="text/plain")
        headers = {"cache-control": cache_control, "vary": "accept-encoding"}
        if asset.encoding:
            headers["content-encoding"] = asset.encoding
        return Response(asset.body, headers=headers, media_type=asset.media_type)

    async def alias(self, request: Request) -> Response:
        """Themes and icons at the workspace's own host."""
        path = request.url.path
        prefix = next(prefix for prefix in ALIASES if path.startswith(prefix))
        return await self.response(request.scope, f"{ALIASES[prefix]}/{path.removeprefix(prefix)}", A_WHILE)

    def prepare(self, stop: threading.Event) -> None:
        """Compresses what a first page load asks for, so that no person waits for it. Ends early when told to stop."""
        for root in ("own", "notebook", "extensions"):
            for path in sorted(ROOTS[root].rglob("*.js")):
                if stop.is_set():
                    return
                if path.stat().st_size > _SMALLEST_COMPRESSED:
                    self._compressed(path.read_bytes(), "br")

    def _load(self, name: str, encoding: str) -> Asset | None:
        path = _resolve(name)
        if path is None:
            return None
        body = path.read_bytes()
        guessed = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if path.suffix not in _COMPRESSIBLE or len(body) <= _SMALLEST_COMPRESSED:
            encoding = ""
        asset = Asset(self._compressed(body, encoding) if encoding else body, guessed, encoding)
        self._kept[name, encoding] = asset
        return asset

    def _compressed(self, body: bytes, encoding: str) -> bytes:
        kept = self._cache_dir / f"{hashlib.sha256(body).hexdigest()[:32]}.{encoding}"
        with self._compressing:
            if kept.exists():
                return kept.read_bytes()
            packed = brotli.compress(body, quality=9) if encoding == "br" else gzip.compress(body, 9, mtime=0)
        # Where it cannot be kept (an image's files are read-only), each process compresses for itself.
        with suppress(OSError):
            self._cache_dir.mkdir(parents=True, exist_ok=True)
            aside = kept.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            aside.write_bytes(packed)
            aside.replace(kept)
        return bytes(packed)


def _resolve(name: str) -> Path | None:
    """The file of a public root, or None: nothing outside the roots, no hidden file."""
    root_name, _slash, rest = name.partition("/")
    root = ROOTS.get(root_name)
    if root is None or "\0" in rest or any(part.startswith(".") for part in rest.split("/")):
        return None
    path = (root / rest).resolve()
    return path if path.is_relative_to(root.resolve()) and path.is_file() else None
