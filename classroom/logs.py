"""Logs as lines of JSON that name no one: no email, no ticket, no query string, whoever wrote them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+")
# The part after a question mark of anything that looks like an address or a path.
QUERY = re.compile(r"(?<=[\w/])\?[^\s\"'<>)\]]+")
# Tickets, invitations, session keys: long random words. SHA-256 digests (64 hexadecimal digits) name files and UUIDs
# name tasks: neither opens anything.
HARMLESS = r"[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SECRET = re.compile(rf"(?<![\w-])(?!(?:{HARMLESS})(?![\w-]))(?=[\w-]*[A-Z0-9])[\w-]{{32,}}(?![\w-])")
# An invitation on paper is short enough to be typed (`classroom.invite`): four groups of four, or however it was typed
# into the address.
TYPED = re.compile(r"(?<![\w-])(?:[2-9A-Z]{4}-){3}[2-9A-Z]{4}(?![\w-])|(?<=/join/)[^/\s\"']+", re.IGNORECASE)


def redact(text: str) -> str:
    """`text` without emails, query strings and secrets."""
    text = QUERY.sub("?[query]", EMAIL.sub("[email]", text))
    return TYPED.sub("[secret]", SECRET.sub("[secret]", text))


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """A structlog processor: every value of the event as redacted text, numbers and None as they are."""
    return {key: value if isinstance(value, int | float | None) else redact(str(value)) for key, value in event.items()}


SHARED: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configuration(level: str) -> dict[str, Any]:
    """Django's LOGGING: everything to standard error, one JSON object a line, structlog's own loggers and Python's
    warnings included."""
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    redact_event,
                    structlog.processors.JSONRenderer(),
                ],
            },
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # uvicorn's start-up chatter, and libraries that log each request with its address at INFO.
            "uvicorn.access": {"level": "CRITICAL"},
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
        },
    }
