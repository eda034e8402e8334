"""Keys of a runtime, derived from the site's master key and never stored: any process reconnects from the row alone."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

import zmq
from zmq.utils import z85


@dataclass(frozen=True, slots=True)
class Keys:
    """hmac_key signs Jupyter messages (hex); the Curve pair (Z85) encrypts and proves the runtime.

    The runtime's own code can read all three, and nothing else: they open this one runtime."""

    hmac_key: str = field(repr=False)
    curve_public: str = field(repr=False)
    curve_secret: str = field(repr=False)


def connection_keys(master: bytes, version: int, runtime: str) -> Keys:
    """Keys of the runtime with this identity (`Endpoint.identity`). Raises ValueError for a short master key.

    HMAC-SHA-256 as a key derivation function (after NIST SP 800-108: a single block), one label for each purpose."""
    if len(master) < 16:
        raise ValueError("the master key of runtimes needs at least 16 bytes")
    secret = z85.encode(_derive(master, version, runtime, b"curve"))
    return Keys(
        hmac_key=_derive(master, version, runtime, b"hmac").hex(),
        curve_public=zmq.curve_public(secret).decode("ascii"),
        curve_secret=secret.decode("ascii"),
    )


def _derive(master: bytes, version: int, runtime: str, purpose: bytes) -> bytes:
    label = b"\0".join((b"pupitre runtime", str(version).encode("ascii"), runtime.encode("utf-8"), purpose))
    return hmac.new(master, label, hashlib.sha256).digest()
