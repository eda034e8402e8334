"""Master keys out of Django's settings, by version; derived keys are in `keys.py`."""

from __future__ import annotations

import hashlib
import hmac

from django.conf import settings

from runtimes.endpoint import Endpoint
from runtimes.errors import KeyMissing
from runtimes.keys import Keys, connection_keys


def masters() -> dict[int, bytes]:
    """Every master key by version: the current one and, after a change of keys, those before it.

    Each is stretched to 32 bytes with a label, as the site may use the same secret for other things."""
    configured: dict[int, str] = {
        **settings.MASTER_KEYS_BEFORE,
        settings.MASTER_KEY_VERSION: settings.MASTER_KEY,
    }
    return {
        version: hmac.new(key.encode(), b"pupitre runtime master key", hashlib.sha256).digest()
        for version, key in configured.items()
    }


def current() -> tuple[int, bytes]:
    """Version and master key for new runtimes."""
    return settings.MASTER_KEY_VERSION, masters()[settings.MASTER_KEY_VERSION]


def keys_of(endpoint: Endpoint) -> Keys:
    """Keys of a runtime from its endpoint. Raises KeyMissing if its version is not in this process's settings."""
    try:
        master = masters()[endpoint.key_version]
    except KeyError as error:
        raise KeyMissing(
            f"MASTER_KEY here lacks version {endpoint.key_version}: start this process again, or put the key back."
        ) from error
    return connection_keys(master, endpoint.key_version, endpoint.identity)
