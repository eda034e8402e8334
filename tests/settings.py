"""The product's settings in a data folder that lives as long as one test run."""

import os
import tempfile
from pathlib import Path

if not os.environ.get("DATA_DIR"):
    # Short, for the sockets below it; open, for the uid that student code runs as.
    os.environ["DATA_DIR"] = os.environ["PUPITRE_TEST_DATA"] = tempfile.mkdtemp(prefix="pt-", dir="/tmp")
    Path(os.environ["DATA_DIR"]).chmod(0o755)
#: Of the whole run, where its processes share what each of them needs.
TEST_RUN_DIR = Path(os.environ["DATA_DIR"])
os.environ.setdefault("LOG_LEVEL", "WARNING")


def _apart(worker: str) -> None:
    """Tests that run at the same time share no folder and no broker. A worker's name is gw0, gw1, ..."""
    folder = Path(os.environ["DATA_DIR"]) / worker
    folder.mkdir(mode=0o755, exist_ok=True)
    os.environ["DATA_DIR"] = str(folder)
    if redis := os.environ.get("REDIS_URL"):
        # deploy/local/services.py starts a Redis with 64 databases.
        os.environ["REDIS_URL"] = redis.removesuffix("/0") + f"/{int(worker.removeprefix('gw')) + 1}"
    # The processes that a test starts are told these places, and are not to look below them.
    os.environ["PUPITRE_TEST_WORKER"] = worker


if (_worker := os.environ.get("PYTEST_XDIST_WORKER")) and os.environ.get("PUPITRE_TEST_WORKER") != _worker:
    _apart(_worker)

import runtimes.notebook_formats  # noqa: E402, F401 - before any test imports nbformat, which is slow to load without
from classroom.settings import *  # noqa: E402, F403
from classroom.settings import STORAGES  # noqa: E402

# A slow hash is for passwords that are kept; it is known here for those that a running site has made.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
# Without the manifest, which needs a run of collectstatic.
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
# whitenoise warns where there is none.
(Path(os.environ["DATA_DIR"]) / "static").mkdir(exist_ok=True)
