"""The Celery application. Tasks live in `classroom/tasks.py` and take primary keys only."""

import importlib
import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging

from classroom import alive, broker, stuck  # noqa: F401 - they register the embedded broker's scheme, and a watch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "classroom.settings")
# Celery would load every page for Django's checks, and tell nobody what they say: `serve` runs them.
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")

app = Celery("pupitre")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.steps["consumer"].add(alive.Pulsing)


@app.on_after_configure.connect
def make_folders(sender: Celery, **_kwargs: Any) -> None:
    """The file-system broker writes into folders that it expects to be there."""
    for name, path in sender.conf.broker_transport_options.items():
        if name.endswith(("folder", "_folder_in", "_folder_out")):
            Path(path).mkdir(parents=True, exist_ok=True)


@celeryd_init.connect
def load_tasks(**_kwargs: Any) -> None:
    """Tasks import everything that they do, nbgrader too. Only a worker does it: the scheduler knows them by name."""
    try:
        importlib.import_module("classroom.tasks")
    except Exception as error:
        # Celery would go on without, and throw messages away that it does not know.
        raise SystemExit(f"The tasks of the site cannot be loaded: {error!r}") from error


@setup_logging.connect
def keep_logging(**_kwargs: Any) -> None:
    """Django has configured logging: a listener here is what keeps Celery from doing it again."""
