"""Files on their way out: one as it is, several as a zip; always a download, never a page of this origin."""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Mapping

from django.http import HttpResponse
from django.utils.http import content_disposition_header

NOTEBOOK = "application/x-ipynb+json"


def file_response(name: str, data: bytes, content_type: str = "application/octet-stream") -> HttpResponse:
    """A download of `data` as `name`. Sandboxed and never sniffed: what students wrote is no page of ours."""
    response = HttpResponse(data, content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name) or "attachment"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "no-store"
    return response


def files_response(name: str, files: Mapping[str, bytes]) -> HttpResponse:
    """One file as itself, several as `name`.zip."""
    if len(files) == 1:
        [(path, data)] = files.items()
        kind = NOTEBOOK if path.endswith(".ipynb") else "application/octet-stream"
        return file_response(posixpath.basename(path), data, kind)
    return file_response(f"{name}.zip", _zip(name, files), "application/zip")


def _zip(folder: str, files: Mapping[str, bytes]) -> bytes:
    """The files in one folder. The same files give the same bytes (no times in it)."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{folder}/{path}")
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return target.getvalue()
