"""What can go wrong between a browser and a workspace.

NotebookError
├── UnknownWorkspace   no workspace answers at this host
├── TicketRefused      used, expired, or for another workspace
├── NoEntry            no credential, or access has ended
├── ForeignOrigin      the request comes from another page
├── ReadOnly           this person may look, not change
├── BadRequest         the request cannot be understood
├── NotFound           no such file, kernel or session here
├── AlreadyThere       a name that is taken
├── TooLarge           the file or the workspace would be too big
└── KernelUnavailable  a kernel cannot be had now
"""

from __future__ import annotations

from typing import ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from runtimes.agent_replies import AgentError
from runtimes.errors import (
    FileNotThere,
    PathTaken,
    QuotaExceeded,
    RuntimesError,
    UnsafePath,
    WorkspaceReadOnly,
)
from runtimes.provider_errors import ProviderError


class NotebookError(Exception):
    """`status` is the HTTP status. `user_message` says what to do next; `str()` is for logs."""

    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    user_message: str | Promise = _("Something went wrong here. Open the notebook again from its course page.")

    def __init__(self, detail: str = "", user_message: str | Promise | None = None) -> None:
        super().__init__(detail or str(type(self).__name__))
        if user_message is not None:
            self.user_message = user_message


class UnknownWorkspace(NotebookError):
    status = 404
    user_message = _("There is no notebook at this address. Open it from its course page.")


class TicketRefused(NotebookError):
    status = 403
    user_message = _(
        "This way into the notebook was used already or is too old. Go back to the course page and open it again."
    )


class NoEntry(NotebookError):
    status = 403
    user_message = _("You are not (or no longer) let in here. Open the notebook again from its course page.")


class ForeignOrigin(NotebookError):
    status = 403
    user_message = _("Another page tried to act on this notebook. Nothing was done.")


class ReadOnly(NotebookError):
    status = 403
    user_message = _("You may read this notebook, but not change or run it.")


class BadRequest(NotebookError):
    status = 400
    user_message = _("The notebook page sent something that cannot be understood. Reload the page.")


class NotFound(NotebookError):
    status = 404
    user_message = _("There is no such file or kernel here. It may have been removed or renamed: reload the page.")


class AlreadyThere(NotebookError):
    status = 409
    user_message = _("There is already a file of that name. Choose another name.")


class TooLarge(NotebookError):
    status = 413
    user_message = _("This is too large to be kept here. Make it smaller, or remove other files first.")


class KernelUnavailable(NotebookError):
    status = 503
    retryable = True
    user_message = _("No kernel can be had at the moment. Your files are kept: try again in a minute.")


# What the layers below raise; `seen_from_browser` makes one of ours of it, with their sentence.
BELOW = (RuntimesError, ProviderError, AgentError)
_SEEN_AS: dict[type[Exception], type[NotebookError]] = {
    FileNotThere: NotFound,
    PathTaken: AlreadyThere,
    QuotaExceeded: TooLarge,
    UnsafePath: BadRequest,
    WorkspaceReadOnly: ReadOnly,
}


def seen_from_browser(error: RuntimesError | ProviderError | AgentError) -> NotebookError:
    """An error of storage, launch or provider as an HTTP status with its own sentence."""
    seen = _SEEN_AS.get(type(error), KernelUnavailable)
    return seen(str(error), error.user_message)
