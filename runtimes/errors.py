"""What can go wrong between a row and a running kernel, each with what to do next.

    RuntimesError
    ├── StorageError
    │   ├── UnsafePath         a name that no file may have
    │   ├── PathTaken          another file or folder has the name
    │   ├── FileNotThere       no file or folder of that name
    │   ├── QuotaExceeded      the workspace is full
    │   ├── StorageAway        an object store does not answer, or refuses: asking again later is right
    │   └── WorkspaceReadOnly  nothing may be written any more
    ├── RuntimeFailed          the runtime did not start, or ended; `reason` says why
    │   └── StillWaiting       it is queued or starting: asking again later is right
    ├── KernelRefused          a kernel verb could not be carried out
    └── KeyMissing             this process does not know a runtime's key: another one, or this one started again, may

Errors of a provider are in `provider.py`, those of a runtime's agent in `agent_replies.py`.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import InterfaceError, OperationalError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

#: What Django raises while the database cannot be reached: asking again later is right.
DATABASE_AWAY = (OperationalError, InterfaceError)


class RuntimesError(Exception):
    """Base of the tree. `str()` is for operators, `user_message` for people, `retryable` for machines."""

    retryable: ClassVar[bool] = False
    user_message: str | Promise = _("That did not work. Try again; if it happens again, tell your teacher.")


class StorageError(RuntimesError):
    """A file could not be stored, moved or found."""


class UnsafePath(StorageError):
    """The name is absolute, leaves the workspace, or has characters that no file name may have."""

    user_message: str | Promise = _("This file name cannot be used. Choose a shorter one without special characters.")


class PathTaken(StorageError):
    """A file is where a folder is wanted, or the other way round, or the target of a rename exists."""

    user_message: str | Promise = _("There is already a file or folder of that name. Choose another name.")


class FileNotThere(StorageError):
    """No file of that name."""

    user_message: str | Promise = _("This file is no longer there. Reload the page to see the files that are.")


class QuotaExceeded(StorageError):
    """The workspace would be larger than it may be."""

    user_message: str | Promise = _(
        "There is no room left for this. Delete files that you no longer need and try again."
    )


class StorageAway(StorageError):
    """The object store cannot be reached, or refuses the site; `str()` is its own words."""

    retryable: ClassVar[bool] = True
    user_message: str | Promise = _(
        "Files cannot be stored or fetched for the moment. Try again in a minute; if it lasts, tell your teacher."
    )


class WorkspaceReadOnly(StorageError):
    """The workspace is closed for changes."""

    user_message: str | Promise = _("This work can no longer be changed.")


class RuntimeFailed(RuntimesError):
    """A runtime did not start, or ended. `reason` is one of `reasons.SENTENCES`; `user_message` its sentence."""

    def __init__(self, reason: str, detail: str = "", user_message: str | Promise | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        if user_message:
            self.user_message = user_message


class StillWaiting(RuntimeFailed):
    """The runtime is not ready yet; it keeps its place in the queue."""

    retryable: ClassVar[bool] = True


class KernelRefused(RuntimesError):
    """The runtime did not start, restart, interrupt or stop a kernel."""

    user_message: str | Promise = _("The kernel did not answer. Try again, or restart the kernel.")

    def __init__(self, detail: str, user_message: str | Promise | None = None) -> None:
        super().__init__(detail)
        if user_message:
            self.user_message = user_message


class KeyMissing(RuntimesError):
    """A runtime has its keys from a master key that this process does not know: during a change of keys it began before
    that was set, and is about to be replaced. Asking again later is right."""

    retryable: ClassVar[bool] = True
    user_message: str | Promise = _("The site is being brought up to date. Try again in a moment.")
