"""`WORK_STORAGE`: where the bytes of people's files lie, as an entry of Django's `STORAGES`. A folder, S3 or Google's.

How to sign in is no part of it: boto3 and Google's library find that by themselves (environment, files, the identity of
the machine or pod).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from django.core.exceptions import ImproperlyConfigured

FORMS = "s3://bucket/prefix or gs://bucket/prefix, or leave it empty for a folder"
SIGN_IN = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the identity of the machine or pod",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or the identity of the machine or pod",
}
# The option of the class for each parameter, and what it must look like.
S3_PARAMETERS = {
    "endpoint_url": ("endpoint_url", re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?"), "https://host:port"),
    "region": ("region_name", re.compile(r"[a-z0-9-]+"), "a name such as eu-west-3"),
    "addressing_style": ("addressing_style", re.compile(r"path|virtual|auto"), "path, virtual or auto"),
}
# Both stores' rules for names, but for the rarest.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_PREFIX = re.compile(r"[\w.=-]+(/[\w.=-]+)*", re.ASCII)


def backend(url: str, folder: Path) -> dict[str, Any]:
    """Django's STORAGES entry: `url`, or `folder` where it is empty. Raises ImproperlyConfigured with what to write."""
    if not url:
        return {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": folder}}
    parts = _split(url)
    options = {"bucket_name": parts.netloc, "location": _prefix(parts.path)} | _parameters(parts)
    return {"BACKEND": _CLASSES[parts.scheme], "OPTIONS": options}


_CLASSES = {"s3": "runtimes.objects.s3.S3Blobs", "gs": "runtimes.objects.gcs.CloudBlobs"}


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
    except ValueError as error:
        raise ImproperlyConfigured(f"WORK_STORAGE cannot be read ({error}). Set it to {FORMS}.") from error
    # What may be a password is not said again.
    if "@" in parts.netloc:
        by = SIGN_IN.get(parts.scheme, SIGN_IN["s3"])
        raise ImproperlyConfigured(f"WORK_STORAGE has a key before its bucket. Take it out: sign in by {by}.")
    if parts.scheme not in _CLASSES:
        raise ImproperlyConfigured(f"WORK_STORAGE begins with neither s3:// nor gs://. Set it to {FORMS}.")
    if not _BUCKET.fullmatch(parts.netloc):
        raise ImproperlyConfigured(f"WORK_STORAGE names no bucket that can be. Set it to {FORMS}.")
    if parts.fragment:
        raise ImproperlyConfigured(f"WORK_STORAGE has a # in it. Set it to {FORMS}.")
    return parts


def _prefix(path: str) -> str:
    prefix = path.strip("/")
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise ImproperlyConfigured(
            f"WORK_STORAGE has the prefix {prefix!r}. Take letters, digits and any of -_.=/ alone."
        )
    return prefix


def _parameters(parts: SplitResult) -> dict[str, str]:
    known = S3_PARAMETERS if parts.scheme == "s3" else {}
    found = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            offered = f"There are {', '.join(known)}" if known else "There are none for gs://"
            raise ImproperlyConfigured(
                f"WORK_STORAGE has the parameter {name}. {offered}; sign in by {SIGN_IN[parts.scheme]}."
            )
        option, pattern, form = known[name]
        if not pattern.fullmatch(value):
            raise ImproperlyConfigured(f"WORK_STORAGE has no {name} that can be. Set it to {form}.")
        found[option] = value
    return found
