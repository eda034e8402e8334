"""The classroom application."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

# Loaded with Django, so that tasks queued by any process go to this application's broker.
from classroom.celery import app as celery_app

__all__ = ["ClassroomConfig", "celery_app"]


class ClassroomConfig(AppConfig):
    """Registers the models of `classroom`."""

    name = "classroom"
    verbose_name = _("Classroom")

    def ready(self) -> None:
        """Register the system checks."""
        from classroom import checks  # noqa: F401 - they register themselves once models are ready
