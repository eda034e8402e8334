"""What continuous integration tests on PostgreSQL, by how long the tests on SQLite have taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.local import check


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of each run of pytest, of which each fails."""
    found: list[list[str]] = []

    @contextmanager
    def services() -> Iterator[dict[str, str]]:
        yield {}

    def run(command: list[Any], _variables: dict[str, str]) -> int:
        found.append([str(word) for word in command])
        return 1

    monkeypatch.setattr(check, "_prepared", lambda: Path("python"))
    monkeypatch.setattr(check, "services", services)
    monkeypatch.setattr(check.environment, "kernels", lambda: Path("kernels"))
    monkeypatch.setattr(check, "run", run)
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv("PUPITRE_CLUSTER", raising=False)
    return found


def test_there_are_no_tests_of_sites_where_those_on_sqlite_took_long_and_that_is_said(ran, capsys) -> None:
    assert check.on_postgres([], check.SLOW - 1) == 1
    assert check.on_postgres([], check.SLOW + 1) == 1
    assert [check.ROWS_ALONE[1] in words for words in ran] == [False, True]
    assert "all tests of running sites and sandboxes" in capsys.readouterr().out


@pytest.mark.parametrize(("cluster", "late"), [("/a/cluster", check.LATE), ("", check.LATE_ALONE)])
def test_there_is_none_where_the_hour_would_be_over_and_that_is_said(
    ran, capsys, monkeypatch, cluster: str, late: int
) -> None:
    monkeypatch.setenv("PUPITRE_CLUSTER", cluster)
    assert check.on_postgres([], late - 1) == 1
    ran.clear()
    assert check.on_postgres([], late + 1) == 0
    assert ran == []
    assert "NOT ON POSTGRESQL AND REDIS" in capsys.readouterr().out


@pytest.mark.parametrize(("ci", "arguments"), [("", []), ("true", ["tests/grading"])])
def test_whoever_has_time_or_chooses_gets_all(ran, monkeypatch, ci: str, arguments: list[str]) -> None:
    monkeypatch.setenv("CI", ci)
    assert check.on_postgres(arguments, check.LATE_ALONE + 1) == 1
    [words] = ran
    assert not [word for word in words if word.startswith("--ignore") or word == check.ROWS_ALONE[1]]
