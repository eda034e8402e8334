"""What can go wrong in set-up. Each message is one sentence with what to do; shown as it is, without a traceback."""


class SetupError(Exception):
    """Set-up cannot go on; the message says what to do."""


class MissingPackages(SetupError):
    """System packages are missing and we may not install them."""


class NoUserNamespaces(SetupError):
    """The host forbids what the sandbox is made of."""


class PortBusy(SetupError):
    """Someone else listens on the port."""


class InstallFailed(SetupError):
    """A package manager failed; its own output stands above."""
