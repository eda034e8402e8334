"""The classroom application."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ClassroomConfig(AppConfig):
    """Registers the models of `classroom`."""

    name = "classroom"
    verbose_name = _("Classroom")
