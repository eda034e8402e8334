"""The Celery application. Tasks live in `classroom/tasks.py` and take primary keys only."""

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import setup_logging

from classroom import alive, broker, stuck  # noqa: F401 - they register the embedded broker's scheme, and a watch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "classroom.settings")

app = Celery("pupitre")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["classroom"])
app.steps["consumer"].add(alive.Pulsing)


@app.on_after_configure.connect
def make_folders(sender: Celery, **_kwargs: Any) -> None:
    """The file-system broker writes into folders that it expects to be there."""
    for name, path in sender.conf.broker_transport_options.items():
        if name.endswith(("folder", "_folder_in", "_folder_out")):
            Path(path).mkdir(parents=True, exist_ok=True)


@setup_logging.connect
def keep_logging(**_kwargs: Any) -> None:
    """Django has configured logging: a listener here is what keeps Celery from doing it again."""
