"""What each page shows, read in a counted number of queries. Nothing here changes anything."""

from __future__ import annotations

from django.db import models
from django.db.models import Manager, Model, QuerySet


def strictly[M: Model](query: QuerySet[M] | Manager[M]) -> QuerySet[M]:
    """The same rows; whatever was not fetched with them raises FieldFetchBlocked instead of asking once a row."""
    strict: QuerySet[M] = query.fetch_mode(models.FETCH_RAISE)  # type: ignore[union-attr]
    return strict
