"""What a provider raises.

Errors, each with `retryable` and a `user_message` that says what to do next:

    ProviderError
    ├── InvalidRequest        the request can never work (a bad name, impossible limits)
    │   └── NotOffered        this provider does not have it (a GPU, internet, an unknown environment)
    ├── ProviderUnavailable   nothing can be started now (cluster unreachable, provider closed)
    │   └── SandboxUnavailable  this host cannot make sandboxes at all
    ├── UnknownRuntime        no runtime of that name
    └── NotReady              the runtime has no endpoint yet
"""

from __future__ import annotations

from typing import ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class ProviderError(Exception):
    """Base of everything a provider raises. `str()` is for operators, `user_message` for people."""

    retryable: ClassVar[bool] = False
    user_message: str | Promise = _(
        "The kernel could not be started. Try again; if it happens again, tell your teacher."
    )


class InvalidRequest(ProviderError):
    user_message: str | Promise = _("This assignment asks for a kernel that cannot exist. Tell your teacher.")


class NotOffered(InvalidRequest):
    """The provider lacks what the profile asks for (a GPU, an environment); `user_message` may say what."""

    user_message: str | Promise = _("This site does not have what the assignment asks for. Tell your teacher.")

    def __init__(self, detail: str, user_message: str | Promise | None = None) -> None:
        super().__init__(detail)
        self.user_message = user_message or type(self).user_message


class ProviderUnavailable(ProviderError):
    retryable = True
    user_message: str | Promise = _("No kernel can be started at the moment. Try again in a minute.")


class SandboxUnavailable(ProviderUnavailable):
    """This host cannot make sandboxes; `user_message` is one sentence to its administrator with what to do."""

    retryable = False

    def __init__(self, user_message: str | Promise, detail: str = "") -> None:
        super().__init__(detail or str(user_message))
        self.user_message = user_message


class UnknownRuntime(ProviderError):
    user_message: str | Promise = _("This kernel is no longer running. Your files are kept: start it again.")


class NotReady(ProviderError):
    retryable = True
    user_message: str | Promise = _("The kernel is still starting. Wait a moment.")
