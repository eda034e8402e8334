"""The people application."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PeopleConfig(AppConfig):
    """Registers the user model."""

    name = "classroom.people"
    label = "people"
    verbose_name = _("People")
