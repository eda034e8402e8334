"""The Celery application. Tasks live in `classroom/tasks.py` and take primary keys only."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "classroom.settings")

app = Celery("pupitre")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["classroom"])
