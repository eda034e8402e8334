"""The grading application."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GradingConfig(AppConfig):
    """Registers the models of `grading`."""

    name = "grading"
    verbose_name = _("Grading")
