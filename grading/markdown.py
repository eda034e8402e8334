"""Markdown that a student or a teacher wrote, as HTML that can neither run nor load anything."""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin

from grading import formulas

_IMAGE_BYTES = 4 * 1024 * 1024
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"})
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "width", "height"},
    "code": {"class"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan", "scope"},
    "ol": {"start"},
    **formulas.ATTRIBUTES,
}
_TAGS = (set(nh3.ALLOWED_TAGS) - {"map", "area", "bdo"}) | formulas.TAGS
# Browsers may break a line between a formula and its full stop; a word joiner holds them together.
_AFTER_A_FORMULA = re.compile(r"(</math>(?:</[a-z]+>)*)(?=[.,;:!?)\]])")
_PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_PARSER.use(dollarmath_plugin, renderer=formulas.formula, double_inline=True, allow_labels=False)
_PARSER.use(amsmath_plugin, renderer=formulas.environment)


def clean_markdown(
    text: str, attachments: Mapping[str, Any] | None = None, files: Mapping[str, bytes] | None = None
) -> SafeString:
    """HTML of a Markdown text. Images come only from the cell's attachments and the notebook's neighbours."""
    tokens = _PARSER.parse(text)
    for token in tokens:
        for child in token.children or ():
            if child.type == "image":
                _resolve(child, attachments or {}, files or {})
    html = _PARSER.renderer.render(tokens, _PARSER.options, {})
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_allowed,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel="noopener noreferrer nofollow",
    )
    clean = _AFTER_A_FORMULA.sub("\\1\u2060", clean)
    return mark_safe(clean)  # noqa: S308 - nh3 made it safe


def _allowed(tag: str, attribute: str, value: str) -> str | None:
    """Images may only be inline; links may not be."""
    inline = value.strip().lower().startswith("data:")
    if (tag, attribute) == ("img", "src"):
        return value if inline and value.strip().lower()[5:].startswith(tuple(_IMAGES)) else None
    if (tag, attribute) == ("a", "href"):
        return None if inline else value
    if (tag, attribute) == ("code", "class"):
        return value if value.startswith("language-") else None
    return value


def _resolve(image: Token, attachments: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    source = str(image.attrs.get("src", ""))
    if source.startswith("attachment:"):
        found = attachments.get(unquote(source.removeprefix("attachment:")))
        if isinstance(found, dict):
            mime = next((mime for mime in found if mime in _IMAGES), None)
            if mime:
                image.attrs["src"] = f"data:{mime};base64,{found[mime]}"
        return
    path = unquote(source).removeprefix("./")
    mime = mimetypes.guess_type(path)[0]
    data = files.get(path)
    if data is not None and mime in _IMAGES and len(data) <= _IMAGE_BYTES:
        image.attrs["src"] = f"data:{mime};base64,{base64.b64encode(data).decode()}"
