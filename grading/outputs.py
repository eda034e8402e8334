"""Outputs of cells as documents for `<iframe sandbox srcdoc>`, and as text where they are text."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from dataclasses import dataclass
from typing import Any, Literal

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from nbconvert.filters.ansi import ansi2html

from grading.markdown import clean_markdown

_STYLE_ATTRIBUTE = re.compile(r' style="[^"]*"')
_TEXT_CHARACTERS = 100_000
_DOCUMENT_CHARACTERS = 2_000_000
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
#: What is shown of a result that comes in several forms, best first.
_PRIORITY = ("text/html", "image/svg+xml", *_IMAGES, "text/markdown", "text/latex", "application/json", "text/plain")
_LINE_PIXELS, _LEAST_PIXELS, _MOST_PIXELS = 20, 32, 800
_STYLE = (
    "body{margin:0;padding:4px;font:14px/1.4 system-ui,sans-serif;color:#111;background:#fff;overflow-wrap:anywhere}"
    "pre{margin:0;font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap}img,svg{max-width:100%;height:auto}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:2px 8px;text-align:right}"
    ".ansi-red-fg{color:#b01011}.ansi-red-intense-fg{color:#b22b31}.ansi-green-fg{color:#00660f}"
    ".ansi-green-intense-fg{color:#005c12}.ansi-yellow-fg{color:#7a4b00}.ansi-blue-fg{color:#0b4a8f}"
    ".ansi-cyan-fg{color:#00595e}.ansi-magenta-fg{color:#8a1a8a}.ansi-bold{font-weight:bold}"
    ".ansi-underline{text-decoration:underline}"
)
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"


@dataclass(frozen=True)
class RenderedOutput:
    """One output. `document` is a whole page for a sandboxed frame of about `height` pixels.

    `html` is there for text (streams, errors, plain results): safe in a page as it is, with ANSI colours as classes.
    """

    kind: Literal["stdout", "stderr", "error", "result", "image", "html"]
    document: str
    height: int
    html: SafeString | None = None


def render_output(output: dict[str, Any], nonce: str) -> RenderedOutput | None:
    """An output of nbformat 4, or None for one that shows nothing."""
    match output.get("output_type"):
        case "stream":
            return _text("stderr" if output.get("name") == "stderr" else "stdout", _joined(output.get("text")), nonce)
        case "error":
            return _text("error", _error_text(output), nonce)
        case "display_data" | "execute_result":
            data = output.get("data")
            return _result(data, nonce) if isinstance(data, dict) else None
        case _:
            return None


def _joined(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _error_text(output: dict[str, Any]) -> str:
    traceback = output.get("traceback")
    lines = [str(line) for line in traceback] if isinstance(traceback, list) else []
    return "\n".join(lines) or f"{output.get('ename', '')}: {output.get('evalue', '')}"


def _text(kind: Literal["stdout", "stderr", "error", "result"], text: str, nonce: str) -> RenderedOutput:
    shown = text[:_TEXT_CHARACTERS]
    if len(text) > len(shown):
        shown += "\n" + gettext("[%(count)d more characters]") % {"count": len(text) - len(shown)}
    # nbconvert escapes the text (quotes, too) before it adds its spans. Their style attributes, for colours beyond the
    # sixteen that have classes, are what the pages' policy forbids.
    html = mark_safe(_STYLE_ATTRIBUTE.sub("", ansi2html(shown)))  # noqa: S308
    return RenderedOutput(kind, _document(f"<pre>{html}</pre>", nonce), _lines_high(shown), html)


def _result(data: dict[str, Any], nonce: str) -> RenderedOutput | None:
    kind = next((mime for mime in _PRIORITY if mime in data), None)
    if kind is None:
        return None
    if kind == "application/json":
        return _text("result", json.dumps(data[kind], indent=2, ensure_ascii=False, default=str), nonce)
    value = _joined(data[kind])
    if kind in _IMAGES or kind == "image/svg+xml":
        return _image(kind, value, _joined(data.get("text/plain")), nonce)
    if kind == "text/html" and len(value) <= _DOCUMENT_CHARACTERS:
        return RenderedOutput("html", _document(value, nonce), _lines_high(value))
    if kind == "text/markdown":
        return RenderedOutput("html", _document(clean_markdown(value, {}, {}), nonce), _lines_high(value))
    plain = data.get("text/plain", value)
    return _text("result", _joined(plain), nonce)


def _image(mime: str, value: str, alternative: str, nonce: str) -> RenderedOutput | None:
    """An `<img>`: scripts inside an SVG image do not run, and nothing outside it is loaded."""
    try:
        raw = value.encode() if mime == "image/svg+xml" else base64.b64decode(value, validate=False)
    except (binascii.Error, ValueError):
        return None
    if len(raw) > _DOCUMENT_CHARACTERS * 4:
        return _text("result", gettext("[an image of %(count)d bytes]") % {"count": len(raw)}, nonce)
    encoded = base64.b64encode(raw).decode()
    alt = escape(alternative or gettext("image without description"))
    body = f'<img src="data:{mime};base64,{encoded}" alt="{alt}">'
    return RenderedOutput("image", _document(body, nonce), _pixels_high(mime, raw))


def _document(body: str, nonce: str) -> str:
    mark = f' nonce="{escape(nonce)}"' if nonce else ""
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{escape(_POLICY)}"><style{mark}>{_STYLE}</style></head><body>{body}</body></html>'
    )


def _lines_high(text: str) -> int:
    return min(max((text.count("\n") + 1) * _LINE_PIXELS + 8, _LEAST_PIXELS), _MOST_PIXELS)


def _pixels_high(mime: str, raw: bytes) -> int:
    """The height that a PNG says it has (PNG specification, IHDR); a guess for others."""
    if mime == "image/png" and raw[:8] == b"\x89PNG\r\n\x1a\n" and len(raw) >= 24:
        return min(max(int(struct.unpack(">I", raw[20:24])[0]) + 8, _LEAST_PIXELS), _MOST_PIXELS)
    return _MOST_PIXELS // 2
