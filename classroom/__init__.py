"""People, courses, assignments and every page. Loads the Celery application so that tasks find it."""

from classroom.celery import app as celery_app

__all__ = ["celery_app"]
