"""A hundred thousand runtimes: a week's usage is found by its days, and the rest is not read."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from classroom.launch import open_work
from classroom.queries import usage
from classroom.queries.usage import By, Period
from runtimes import usage as writing
from runtimes.models import Runtime, Usage

MANY = 100_000
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
#: One starts each hour, and each ran for one.
WEEK, IN_A_WEEK = Period(date(2025, 3, 3), date(2025, 3, 9)), 7 * 24


@pytest.fixture
def years(ps1, ada, ben) -> None:
    """One starts each hour: eleven years of them, of two people and of grading."""
    profile = ps1.profile
    for workspace in (open_work(ps1, ada).workspace, open_work(ps1, ben).workspace, None):
        account = workspace.account if workspace else f"line-item:{ps1.line_item_id}"
        purpose = Runtime.Purpose.INTERACTIVE if workspace else Runtime.Purpose.GRADING
        Runtime.objects.create(
            workspace=workspace, profile=profile, account=account, purpose=purpose, state=Runtime.State.STOPPED,
            ready_at=BEGIN - HOUR,
        )  # fmt: skip
    writing.record(Runtime.objects.select_related("profile"), BEGIN)
    # Rows are made by the database: to send as many there would take longer than everything else.
    copy(Runtime, name="left(md5(n::text), 32)", ready_at="'2024-01-01+00'::timestamptz + n * interval '1 hour'")
    copy(Usage, runtime_id="(SELECT r.id FROM runtimes_runtime r WHERE r.name = left(md5(n::text), 32))")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def copy(model: type[models.Model], **changed: str) -> None:
    """As many rows as `MANY`, like those that are there in turn, but for what is `changed`: by column, in SQL."""
    table = model._meta.db_table
    columns = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    values = ", ".join(changed.get(column, f'one."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    like = f"(SELECT *, row_number() OVER (ORDER BY id) - 1 AS turn FROM {table})"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {values} FROM generate_series(0, {MANY - 1}) n "
            f"JOIN {like} one ON one.turn = n % 3"
        )


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no statistics of its tables to plan by")
@pytest.mark.django_db
def test_a_weeks_usage_is_found_by_its_days(years, course):
    with CaptureQueriesContext(connection) as asked:
        found = [usage.report(WEEK, by, where) for by in By for where in (None, course)]
    assert {one.total.wall for one in found} == {IN_A_WEEK * 3600}
    sums = [query["sql"] for query in asked if "SUM(" in query["sql"]]
    assert len(sums) == len(found) + 2, "those by person are two"
    for sql in sums:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Index Cond: ((ready_at >= " in plan, plan
        assert "Seq Scan on runtimes_runtime" not in plan, plan
        assert "Seq Scan on runtimes_usage" not in plan, plan
