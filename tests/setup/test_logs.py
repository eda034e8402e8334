"""Logs say what happened and to what, never who, and never a key to something."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import secrets
import subprocess
import sys
import uuid

import pytest

from classroom import logs
from classroom.places import CHECKOUT


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch):
    """A logger configured as the product's, and what it has written, line by line."""
    written = io.StringIO()
    configuration = logs.configuration("INFO")
    handler = logging.StreamHandler(written)
    logger = logging.Logger("tests.log")
    formatter = configuration["formatters"]["json"]
    handler.setFormatter(logging.config.DictConfigurator(configuration).configure_formatter(dict(formatter)))
    logger.addHandler(handler)
    logger.lines = lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    return logger


def test_a_line_is_one_json_object(log):
    log.warning("Submission %s was graded in %d s", 12, 3)
    (line,) = log.lines()
    assert line["event"] == "Submission 12 was graded in 3 s"
    assert line["level"] == "warning"
    assert line["logger"] == "tests.log"
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    "text",
    ["ada@example.org", "Mail to <ada.lovelace+x@mail.example.co.uk> failed", "Key (lower(email))=(ada@example.org)"],
)
def test_no_email_reaches_a_log(log, text: str):
    log.error(text)
    log.error("Could not send: %s", text)
    assert all("@" not in line["event"] and "[email]" in line["event"] for line in log.lines())


@pytest.mark.parametrize(
    "text", ["GET /w/abc/files?token=12345 HTTP/1.1", "https://site.example/next?to=/course", "Not Found: /a?b"]
)
def test_no_query_string_reaches_a_log(log, text: str):
    log.warning(text)
    (line,) = log.lines()
    assert "?[query]" in line["event"]
    assert "12345" not in line["event"]
    assert "course" not in line["event"]


@pytest.mark.parametrize("make", [lambda: secrets.token_urlsafe(32), lambda: f"1a{secrets.token_urlsafe(24)}"])
def test_no_ticket_or_invitation_reaches_a_log(log, make):
    for _ in range(200):
        secret = make()
        log.info("refused /enter/%s/", secret)
        assert secret not in log.lines()[-1]["event"]


def test_no_invitation_on_paper_reaches_a_log(log):
    for typed in ("DKTQ-7ZF8-CHKN-V7SD", "dktq-7zf8-chkn-v7sd", "DKTQ7ZF8CHKNV7SD"):
        log.error("Internal Server Error: /join/%s/", typed)
        assert typed not in log.lines()[-1]["event"]
    log.error("link DKTQ-7ZF8-CHKN-V7SD")
    assert "DKTQ" not in log.lines()[-1]["event"]
    log.error("Gone: /join/ of submission DS23-QXM6-8RQV")
    assert "DS23-QXM6-8RQV" in log.lines()[-1]["event"], "a receipt's code opens nothing"


def test_a_traceback_is_redacted_too(log):
    try:
        raise ValueError("no user ada@example.org at /people?page=2")
    except ValueError:
        log.exception("It broke")
    (line,) = log.lines()
    assert "ValueError: no user [email] at /people?[query]" in line["exception"]
    assert "Traceback" in line["exception"]


def test_values_beside_the_event_are_redacted_too(log):
    event = {"to": "ada@example.org", "points": 7.5, "late": None, "url": "/a?ticket=1"}
    assert logs.redact_event(None, "info", event) == {"to": "[email]", "points": 7.5, "late": None, "url": "/a?[query]"}


def test_structlogs_own_loggers_write_the_same_lines():
    done = subprocess.run([sys.executable, "-c", STRUCTLOG], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    line = json.loads(done.stderr)
    assert line | {"timestamp": ""} == {
        "event": "mail.sent", "to": "[email]", "level": "info", "logger": "classroom.mail", "timestamp": ""
    }  # fmt: skip


STRUCTLOG = """
import logging.config, structlog
from classroom import logs
from classroom.places import CHECKOUT
log = structlog.get_logger("classroom.mail")
logging.config.dictConfig(logs.configuration("INFO"))
log.info("mail.sent", to="ada@example.org")
log.debug("mail.looked_for")
"""


def test_warnings_of_python_are_such_lines_too():
    code = "import logging.config, warnings\nfrom classroom import logs\n"
    code += "logging.config.dictConfig(logs.configuration('INFO'))\nwarnings.warn('old\\nways of ada@example.org')"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    line = json.loads(done.stderr)
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "ways of [email]" in line["event"]


def test_what_operators_search_for_is_left(log):
    digest = "0123456789abcdef" * 4
    log.info("Runtime %s of workspace %s holds blob %s", "rabcdefghij0123456789", "wabcdefghij0123456789", digest)
    (line,) = log.lines()
    assert line["event"].endswith(digest)
    assert "wabcdefghij0123456789" in line["event"]
    log.info("Task %s", task := str(uuid.uuid4()))
    assert task in log.lines()[-1]["event"]
    log.info("Is it done? Yes.")
    assert log.lines()[-1]["event"] == "Is it done? Yes."
