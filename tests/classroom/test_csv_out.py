"""CSV that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest

from classroom.csv_out import download, escape, unescape


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=1", " =1", "＝1", "=HYPERLINK(\"http://x\")"],
)  # fmt: skip
def test_text_that_a_spreadsheet_would_run_begins_with_an_apostrophe(text: str):
    assert escape(text) == "'" + text
    assert unescape(escape(text)) == text


@pytest.mark.parametrize("text", ["Ada", "a=b", "1-2", "'quoted'", ""])
def test_other_text_is_left_as_it_is(text: str):
    assert escape(text) == text
    assert unescape(text) == text


def test_numbers_stay_numbers_also_below_zero():
    assert escape(Decimal("-1.5")) == "-1.5"
    assert escape(-3) == "-3"


def test_commas_quotes_and_lines_survive_the_way_out_and_back():
    cell = 'Doe, "Fran"\nof A'
    response = download("x", ["name"], [[cell]])
    rows = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"), newline="")))
    assert rows == [["name"], [cell]]
    assert response["Content-Disposition"] == 'attachment; filename="x.csv"'
