"""The runtimes application."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RuntimesConfig(AppConfig):
    """Registers the models of `runtimes`."""

    name = "runtimes"
    verbose_name = _("Runtimes")
