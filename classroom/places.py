"""Where things live on a machine, always outside the clone. Standard library only: set-up has no Django yet."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def home() -> Path:
    """The folder for all that is not code: `PUPITRE_HOME`, else the system's for root and the user's own for others.

    Root's own home may be closed to the uid that student code runs as, hence /var/lib.
    """
    if chosen := os.environ.get("PUPITRE_HOME"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/pupitre")
    share = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(share).absolute() / "pupitre"


def checkout_key(checkout: Path = CHECKOUT) -> str:
    """A name for one clone, so that two clones on a machine never share a database."""
    return f"{checkout.name}-{hashlib.sha256(str(checkout).encode()).hexdigest()[:8]}"


def data_dir() -> Path:
    """The database, files, secrets and logs of this clone: `DATA_DIR`, else a folder of its own in `home()`."""
    if chosen := os.environ.get("DATA_DIR"):
        return Path(chosen).absolute()
    return home() / checkout_key()


def environments_dir() -> Path:
    """The Python environments, shared by every clone: `ENVIRONMENTS_DIR`, else `home()`/envs."""
    if chosen := os.environ.get("ENVIRONMENTS_DIR"):
        return Path(chosen).absolute()
    return home() / "envs"
