"""The product's settings, with an application that holds saves."""

from classroom.settings import *  # noqa: F403
from classroom.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.holding.apps.HoldingConfig"]
