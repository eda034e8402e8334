"""Where a page needs a file while the object store is away, it says so: 503, and the sentence of the error."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runtimes.errors import StorageAway

RETRY_SECONDS = 60


class StorageAwayMiddleware:
    """Answers for views that let StorageAway through; those that can say more catch it themselves."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The page."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The page that says so, and when to come back."""
        if not isinstance(error, StorageAway):
            return None
        response = render(request, "503.html", {"why": error.user_message}, status=503)
        response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response
