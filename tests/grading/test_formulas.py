"""Formulas in Markdown: drawn by the browser, and no way in."""

from __future__ import annotations

import re

import pytest

from grading.markdown import clean_markdown


@pytest.mark.parametrize(
    "text",
    [r"so $x_i = i^2$ holds", "$$\n\\sum_{i=1}^n i\n$$", r"\begin{align}a &= b \\ c &= d\end{align}", "a $ x $ b"],
)
def test_formulas_become_mathml(text):
    html = clean_markdown(text)
    assert "<math" in html
    assert "$" not in html
    assert "begin{" not in html


def test_a_displayed_formula_is_a_block_of_its_own():
    assert 'display="block"' in clean_markdown("$$x$$")
    assert 'display="inline"' in clean_markdown("$x$")


def test_prices_and_code_stay_as_they_are():
    assert clean_markdown("It costs \\$5, not `$x$`.").count("<math") == 0


@pytest.mark.parametrize("text", [r"$\frac{$", r"$\left($", "$" + "{" * 1900 + "$", "$" + "x" * 3000 + "$"])
def test_what_is_no_formula_is_shown_as_typed(text):
    html = clean_markdown(text)
    assert "<math" not in html
    assert "$" in html


@pytest.mark.parametrize(
    "text",
    [
        r"$\href{javascript:alert(1)}{x}$",
        r"$\text{</mtext><script>alert(1)</script>}$",
        "$<img src=x onerror=alert(1)>$",
        r"$\style{background:url(https://x.example)}{x}$",
        "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
        '<math href="javascript:alert(1)"><mi xlink:href="javascript:alert(1)">x</mi></math>',
    ],
)
def test_a_formula_is_no_way_in(text):
    html = clean_markdown(text)
    assert "<script" not in html
    assert not re.search(r"<[^>]*\bon\w+\s*=", html)
    assert "href" not in html
    assert "style=" not in html
    assert "<img" not in html


def test_a_full_stop_stays_with_its_formula():
    assert "</math></span>\u2060." in clean_markdown("for $1 \\leq i \\leq n$. Make sure")
    assert "\u2060" not in clean_markdown("for $n$ of them")
