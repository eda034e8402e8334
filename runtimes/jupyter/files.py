"""`/files/<path>`: a file's bytes, for downloads and for images in Markdown. Opened as a page, it can do nothing."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from django.core.files.base import File
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from runtimes import storage
from runtimes.jupyter import document, policy
from runtimes.jupyter.contents import path_of, workspace_of
from runtimes.jupyter.errors import NotFound
from runtimes.jupyter.off_loop import off_loop
from runtimes.models import Workspace, WorkspaceFile

_PIECE = 1 << 20


def _find(workspace: Workspace, path: str) -> tuple[int, str]:
    # A notebook that is open is downloaded with what was typed a moment ago.
    if workspace.documents.filter(path=path).exists():
        document.flush_sync(workspace)
    row = WorkspaceFile.objects.filter(workspace=workspace, path=path).select_related("blob").first()
    if row is None:
        raise NotFound(path)
    return row.blob.size, row.blob_id


async def _pieces(stream: File[bytes]) -> AsyncIterator[bytes]:
    try:
        while piece := await asyncio.to_thread(stream.read, _PIECE):
            yield piece
    finally:
        stream.close()


async def read(request: Request) -> Response:
    """GET /files/<path>[?download]"""
    path = path_of(request)
    size, sha256 = await off_loop(_find, await workspace_of(request), path)
    headers: dict[str, Any] = {
        "content-length": str(size),
        "content-security-policy": policy.FILE_POLICY,
        "etag": f'"{sha256}"',
        "cache-control": "private, no-cache",
    }
    name = quote(path.rsplit("/", 1)[-1])
    if "download" in request.query_params:
        headers["content-disposition"] = f"attachment; filename*=UTF-8''{name}"
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers={"etag": headers["etag"], "cache-control": "private, no-cache"})
    guessed, encoding = mimetypes.guess_type(path)
    media_type = guessed if guessed and not encoding else "application/octet-stream"
    if request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    stream = await asyncio.to_thread(storage.open_blob, sha256)
    return StreamingResponse(_pieces(stream), headers=headers, media_type=media_type)
