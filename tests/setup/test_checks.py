"""Settings that cannot work are named with a number and with what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from classroom import checks, dumps, environment


def ids() -> set[str]:
    return {message.id or "" for message in run_checks() if (message.id or "").startswith("pupitre.")}


@pytest.mark.django_db
def test_the_defaults_are_in_order():
    assert not {number for number in ids() if number.startswith("pupitre.E")}


@pytest.mark.parametrize(
    ("number", "values"),
    [
        ("pupitre.E001", {"SITE_ORIGIN": "https://learn.example/start"}),
        ("pupitre.E001", {"SITE_ORIGIN": "learn.example"}),
        ("pupitre.E002", {"NOTEBOOK_ORIGIN": "http://notebooks.localhost:8000"}),
        ("pupitre.E003", {"SITE_ORIGIN": "https://example.org", "NOTEBOOK_ORIGIN": "https://*.example.org"}),
        ("pupitre.E003", {"SITE_ORIGIN": "https://learn.example.org", "NOTEBOOK_ORIGIN": "https://*.example.org"}),
        ("pupitre.E004", {"SITE_ORIGIN": "http://learn.example.org"}),
        ("pupitre.E005", {"SITE_ORIGIN": "https://learn.example.org", "NOTEBOOK_ORIGIN": "http://*.nb.example"}),
        ("pupitre.E010", {"RUN_DIR": Path("/tmp") / ("long" * 20)}),
        ("pupitre.E020", {"SECRET_KEY": "short"}),
        ("pupitre.E020", {"MASTER_KEY": "short"}),
        ("pupitre.E020", {"MASTER_KEYS_BEFORE": {1: "short"}}),
        ("pupitre.E021", {"GOOGLE_CLIENT_ID": "half of it", "GOOGLE_CLIENT_SECRET": ""}),
        ("pupitre.E030", {"RUNTIME_PROVIDER": "runtimes.nowhere.Provider"}),
        ("pupitre.E030", {"DRIVE_BACKEND": "classroom.nowhere.Drive"}),
    ],
)
def test_what_cannot_work_is_refused(settings, number: str, values: dict[str, object]):
    for name, value in values.items():
        setattr(settings, name, value)
    found = [message for check in CHECKS for message in check(None) if message.id == number]
    assert found
    assert all(message.hint for message in found)


CHECKS = [checks.check_origins, checks.check_places, checks.check_secrets, checks.check_engines]


@pytest.mark.parametrize(
    ("vendor", "redis", "expected"),
    [
        ("sqlite", "", set()),
        ("postgresql", "redis://127.0.0.1", set()),
        ("postgresql", "", {"pupitre.W031"}),
        ("sqlite", "redis://127.0.0.1", {"pupitre.W032"}),
    ],
)
def test_half_a_production_set_up_is_remarked_on(settings, monkeypatch, vendor: str, redis: str, expected: set[str]):
    settings.REDIS_URL = redis
    monkeypatch.setattr(checks, "connection", SimpleNamespace(vendor=vendor))
    assert {message.id for message in checks.check_engines(None)} == expected


def test_to_have_no_drive_is_in_order(settings):
    settings.DRIVE_BACKEND = ""
    assert "pupitre.E030" not in {message.id for message in checks.check_engines(None)}


def test_a_data_folder_that_cannot_be_written_to_is_refused(settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(checks.os, "access", lambda *_: False)
    assert "pupitre.E011" in {message.id for message in checks.check_places(None)}


@pytest.mark.parametrize("value", ["maybe", "2", "-1"])
def test_a_flag_that_is_neither_yes_nor_no_is_refused(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("SIGN_UP_OPEN", value)
    with pytest.raises(ImproperlyConfigured, match="SIGN_UP_OPEN is .* Set it to 1 or 0"):
        environment.flag("SIGN_UP_OPEN")


@pytest.mark.parametrize("value", ["many", "-1", "1.5"])
def test_a_number_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("WORKERS", value)
    with pytest.raises(ImproperlyConfigured, match="WORKERS is .* whole number"):
        environment.number("WORKERS", 2)


@pytest.mark.parametrize("url", ["mysql://host/name", "postgresql://host", "host/name"])
def test_a_database_address_that_is_none_is_refused(url: str, tmp_path: Path):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL must look like"):
        environment.database(url, tmp_path / "db")


def test_a_password_with_signs_arrives_at_the_database_as_it_is(tmp_path: Path):
    found = environment.database("postgresql://me:p%40ss%2Fword@db.example:5433/pupitre", tmp_path / "db")
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"]) == ("me", "p@ss/word", "db.example", "5433")


def test_a_folder_that_everybody_shares_is_refused(tmp_path: Path):
    tmp_path.chmod(0o1777)
    with pytest.raises(ImproperlyConfigured, match="Set it to a folder of its own"):
        environment.own_folder("DATA_DIR", tmp_path)
    tmp_path.chmod(0o755)
    assert environment.own_folder("DATA_DIR", tmp_path) == tmp_path
    assert environment.own_folder("DATA_DIR", tmp_path / "new") == tmp_path / "new"


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path):
    first = environment.secret_file(tmp_path / "secrets", "master")
    assert environment.secret_file(tmp_path / "secrets", "master") == first
    assert len(first) == 64
    assert (tmp_path / "secrets" / "master").stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["master"]


@pytest.fixture
def postgres(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int, str], None]:
    """A server of that version, as its protocol gives it, and a pg_dump that says so of itself ("": none is here)."""

    def have(server: int, client: str) -> None:
        if client:
            program = tmp_path / "pg_dump"
            program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {client}'\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(dumps, "connection", SimpleNamespace(vendor="postgresql", pg_version=server))

    return have


@pytest.mark.parametrize(
    ("server", "client", "expected"),
    [
        (180001, "17.6 (Debian 17.6-0+deb13u1)", ["pupitre.E041"]),
        (180000, "18beta1", []),
        (170009, "17.6 (Debian 17.6-0+deb13u1)", []),
        (150014, "17.6 (Debian 17.6-0+deb13u1)", []),
        (180001, "", []),
    ],
)
def test_a_server_that_is_too_new_to_be_backed_up_is_told_of(postgres, server: int, client: str, expected: list[str]):
    postgres(server, client)
    assert [message.id for message in checks.check_backups(None)] == expected


def test_a_backup_of_a_server_that_is_too_new_says_what_to_install(postgres, tmp_path: Path):
    postgres(180001, "17.6")
    with (
        pytest.raises(dumps.DumpError, match=r"PostgreSQL 18, .* 17's, .* postgresql-client-18"),
        dumps.dumped(tmp_path),
    ):
        pytest.fail("nothing can be dumped")
