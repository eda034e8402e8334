"""The same as in the frame, without it: download the work, hand in a file."""

from __future__ import annotations

import json
import posixpath
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from classroom import submit as verb
from classroom.access import Act
from classroom.body_limit import takes_files
from classroom.enter_work import Inside, work_page
from classroom.errors import BadUpload, ClassroomError
from classroom.gather import gather
from classroom.hand_out import files_response
from classroom.queries import notebook as queries
from classroom.uploads import files_of
from grading.errors import GradingError
from runtimes import storage
from runtimes.errors import RuntimesError, StorageError

_log = structlog.get_logger(__name__)


@require_GET
@work_page()
def download(request: HttpRequest, place: Inside) -> HttpResponse:
    """All files of the work as they are now, or one of them (`path`)."""
    workspace = place.work.workspace
    try:
        gather(place.work)
    except StorageError as error:
        # A full or closed workspace must not keep anybody from what is stored.
        _log.warning("download without the last edits", workspace=workspace.pk, error=type(error).__name__)
    rows = storage.files(workspace)
    if wanted := request.GET.get("path"):
        rows = rows.filter(path=wanted)
    files = {row.path: storage.read(row.blob) for row in rows}
    if not files:
        messages.error(request, str(_("There is no such file.")) if wanted else str(_("There are no files yet.")))
        return redirect("hand_in", workspace.slug)
    return files_response(place.work.assignment.slug, files)


@takes_files
@require_http_methods(["GET", "POST"])
@never_cache
@work_page(own=True)
def hand_in(request: HttpRequest, place: Inside) -> HttpResponse:
    """Hands in files that were worked on elsewhere, or the work as it is on the server; receipts are the same."""
    if not place.me.may(Act.SUBMIT) or place.work.preview:
        raise PermissionDenied
    paths = queries.notebooks(place.work)
    if request.method == "POST":
        try:
            files = chosen(request.FILES.getlist("files"), paths)
            key = request.POST.get("request_key", "")[:64] or secrets.token_urlsafe(16)
            taken = verb.submit_files(place.work, place.me.user, files, request_key=key)
            return redirect("receipt", taken.submission.code)
        except (ClassroomError, GradingError, RuntimesError) as error:
            messages.error(request, str(error.user_message))
    context = {
        "place": place,
        "work": place.work,
        "workspace": place.work.workspace,
        "assignment": place.work.assignment,
        "course": place.work.assignment.course,
        "bar": queries.bar_state(place.work, place.me.user, place.terms),
        "findings": queries.findings(place.work) if place.writes else None,
        "paths": paths,
        "request_key": secrets.token_urlsafe(16),
        "most_bytes": settings.UPLOAD_MOST_BYTES,
    }
    return render(request, "study/hand_in.html", context)


def chosen(uploads: Iterable[UploadedFile[Any]], paths: list[str]) -> dict[str, bytes]:
    """What was brought, under the names of the assignment. Raises BadUpload.

    Browsers and people rename ("problem1 (2).ipynb"): where the assignment has one notebook and one was brought, it is
    that one. Otherwise a notebook must be named as in the assignment, and at least one must be there.
    """
    files = files_of(uploads)
    brought = [path for path in files if path.endswith(".ipynb")]
    if len(paths) == 1 and len(brought) == 1 and brought[0] != paths[0]:
        files[paths[0]] = files.pop(brought[0])
        brought = [paths[0]]
    else:
        _rename(files, paths)
        brought = [path for path in files if path.endswith(".ipynb")]
    known = [path for path in brought if path in paths]
    if not known:
        raise BadUpload("no notebook", user_message=str(_no_notebook) % {"names": ", ".join(paths)})
    for path in known:
        _check_notebook(path, files[path])
    return files


_no_notebook = _("None of the files is a notebook of this assignment. It has: %(names)s. Nothing was handed in.")


def _rename(files: dict[str, bytes], paths: list[str]) -> None:
    """A notebook in the wrong folder, or with a browser's "(1)" in its name, goes where the assignment has it."""
    for path in [path for path in files if path.endswith(".ipynb") and path not in paths]:
        stem = posixpath.basename(path).removesuffix(".ipynb").split(" (", 1)[0]
        fits = [one for one in paths if posixpath.basename(one) == f"{stem}.ipynb" and one not in files]
        if len(fits) == 1:
            files[fits[0]] = files.pop(path)


def _check_notebook(path: str, data: bytes) -> None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadUpload(path, user_message=str(_not_a_notebook) % {"path": path}) from error
    if not isinstance(content, Mapping) or not isinstance(content.get("cells", content.get("worksheets")), list):
        raise BadUpload(path, user_message=str(_not_a_notebook) % {"path": path})


_not_a_notebook = _(
    "“%(path)s” is not a notebook: save it again in Jupyter and choose the .ipynb file. Nothing was handed in."
)
