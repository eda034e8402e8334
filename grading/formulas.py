"""Formulas in Markdown as MathML, which browsers draw themselves: no script, no font to load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.html import escape
from latex2mathml.converter import convert

#: The elements of MathML Core that the converter writes. Anything else is taken out with all other HTML.
TAGS = frozenset({
    "math", "menclose", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded", "mphantom", "mroot", "mrow",
    "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd", "mtext", "mtr", "munder", "munderover",
})  # fmt: skip
ATTRIBUTES: Mapping[str, set[str]] = {
    "math": {"display"},
    "mo": {"stretchy", "fence", "form", "largeop", "movablelimits", "separator", "minsize", "maxsize"},
    "mi": {"mathvariant"},
    "mover": {"accent"},
    "munder": {"accentunder"},
    "mspace": {"width", "height", "depth", "linebreak"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mfrac": {"linethickness"},
    "mtable": {"columnalign", "rowspacing", "columnspacing"},
    "mtd": {"columnalign", "columnspan", "rowspan"},
    "menclose": {"notation"},
}
# Longer than any formula that a person reads; the converter works recursively.
_MOST_CHARACTERS = 2000


def formula(source: str, options: Mapping[str, Any]) -> str:
    """MathML of a formula in LaTeX (a renderer of markdown-it's dollarmath); what is no LaTeX stays as it was typed."""
    display = bool(options.get("display_mode"))
    if len(source) <= _MOST_CHARACTERS:
        try:
            return str(convert(source, display="block" if display else "inline"))
        except Exception:  # noqa: BLE001, S110 - whatever the converter makes of what a person typed, it is shown as typed
            pass
    mark = "$$" if display else "$"
    return f"<code>{escape(f'{mark}{source}{mark}')}</code>"


def environment(source: str) -> str:
    """MathML of an AMS environment (`\\begin{align}` …), as a renderer of markdown-it's amsmath."""
    return formula(source, {"display_mode": True})
