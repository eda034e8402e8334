"""A notebook in a page: nothing runs, nothing loads, nothing leaves its frame, hidden tests stay hidden."""

from __future__ import annotations

import base64
import html
import json
import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from grading import engine
from grading.engine import Settings
from grading.markdown import clean_markdown
from grading.rendering import render
from tests.grading.corpus import dump

PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (4).to_bytes(4) + (300).to_bytes(4) + b"\0" * 9
).decode()

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<iframe src='https://evil.example'></iframe>",
    "[x](javascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "<a href='data:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<form action='https://evil.example'><input name=password></form>",
    "<style>body{display:none}</style>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<p id='submit' name='csrf' style='position:fixed' onclick='x()'>p</p>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_markdown_can_neither_run_nor_frame_nor_restyle(attack: str) -> None:
    made = clean_markdown(attack).lower()
    for bad in ("<script", "onerror=", "onload=", "onclick=", "<iframe", "<form", "<style", "<base", "<meta", "style=",
                'href="javascript', 'href="data:', "id=", "<svg"):  # fmt: skip
        assert bad not in made.replace("&lt;", "")


def test_images_come_from_the_cell_and_its_neighbours_and_from_nowhere_else() -> None:
    text = "![a](attachment:a.png) ![b](b%20c.png) ![c](https://evil.example/x.png) ![d](missing.png)"
    made = clean_markdown(text, {"a.png": {"image/png": PNG}}, {"b c.png": base64.b64decode(PNG)})
    assert made.count(f'src="data:image/png;base64,{PNG}"') == 2
    assert "evil" not in made
    assert "missing.png" not in made
    assert 'alt="d"' in made


def test_code_is_text_and_outputs_are_documents_that_load_nothing() -> None:
    cell = new_code_cell("'<b>' if 1 < 2 else '</code><script>'")
    cell.outputs = [
        new_output("stream", text="<script>1</script>\n"),
        new_output("error", ename="E", evalue="v", traceback=["\x1b[0;31mE\x1b[0m: <img src=x>"]),
        new_output("display_data", data={"text/html": "<script>top.x()</script><b>table</b>", "text/plain": "t"}),
        new_output("display_data", data={"image/png": PNG, "text/plain": "<Figure>"}),
        new_output("display_data", data={"image/svg+xml": "<svg onload='x()'></svg>"}),
        new_output("display_data", data={"application/javascript": "alert(1)"}),
        new_output("execute_result", data={"application/json": {"a": "<b>"}}),
    ]
    (rendered,) = render(dump(new_notebook(cells=[cell])), nonce="n0nce")
    assert "<script" not in rendered.html
    assert html.unescape(re.sub(r"<[^>]+>", "", rendered.html)).strip() == cell.source
    kinds = [output.kind for output in rendered.outputs]
    assert kinds == ["stdout", "error", "html", "image", "image", "result"]
    for output in rendered.outputs:
        policy = re.search(r'Content-Security-Policy" content="([^"]+)"', output.document)
        assert policy
        assert html.unescape(policy[1]).startswith("default-src 'none'; img-src data:")
        assert "http" not in output.document.replace("http-equiv", "")
        assert '<style nonce="n0nce">' in output.document
    for output in rendered.outputs:
        assert output.html is None or "<script" not in output.html
    assert 'class="ansi-red-fg"' in rendered.outputs[1].html
    assert rendered.outputs[3].height == 308
    assert "&lt;Figure&gt;" in rendered.outputs[3].document
    assert "<svg" not in rendered.outputs[4].document


def test_a_huge_text_is_cut_and_says_so() -> None:
    cell = new_code_cell("x")
    cell.outputs = [new_output("stream", text="x" * 300_000)]
    (rendered,) = render(dump(new_notebook(cells=[cell])))
    assert "[200000 more characters]" in rendered.outputs[0].html


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"cells": 3}', b'{"cells": [1, null, {}]}', b"[" * 50_000,
     b'{"cells": [{"cell_type": "code", "outputs": [{"output_type": "display_data", "data": 3}, 4], "metadata": 3}]}',
     b'{"cells": [{"cell_type": "markdown", "source": null, "attachments": {"a": 3}}]}'],
)  # fmt: skip
def test_rendering_survives_anything(content: bytes) -> None:
    render(content)


HIDDEN = {"grade": True, "solution": False, "locked": True, "schema_version": 3, "grade_id": "t", "points": 1}
SOURCE = "assert answer\n### BEGIN HIDDEN TESTS\nassert answer == 'the secret answer'\n### END HIDDEN TESTS"


def graded(*after, line: int, evalue: str = "why") -> bytes:
    cell = new_code_cell(SOURCE, metadata={"nbgrader": HIDDEN})
    trace = [
        f"Cell In[2], line {line}",
        f"----> {line} {SOURCE.splitlines()[line - 1]}\n      {SOURCE.splitlines()[2]}",
    ]
    cell.outputs = [
        new_output("stream", text="printed: assert answer == 'the secret answer'"),
        new_output("error", ename="AssertionError", evalue=evalue, traceback=trace),
    ]
    return dump(new_notebook(cells=[cell, *after]))


# What students see unless the teacher says otherwise is in `test_sealed.py`. With *Show all outputs*:


def shown(content: bytes) -> dict:
    redacted = engine.redact(content, Settings())
    assert b"the secret answer" not in redacted
    return json.loads(redacted)


def test_all_outputs_show_a_failed_hidden_test_without_its_code_or_message() -> None:
    (cell,) = shown(graded(line=3, evalue="expected 'the secret answer'"))["cells"]
    assert "".join(cell["source"]) == "assert answer"
    (output,) = cell["outputs"]
    assert (output["ename"], output["evalue"], output["traceback"]) == ("AssertionError", "", ["AssertionError"])


def test_all_outputs_show_the_message_of_a_visible_test_in_the_same_cell() -> None:
    (cell,) = shown(graded(line=1, evalue="give an answer"))["cells"]
    assert cell["outputs"][0]["traceback"] == ["AssertionError: give an answer"]


def test_a_cell_whose_output_quotes_the_hidden_test_word_for_word_shows_nothing_of_it() -> None:
    later = new_code_cell("print(In)")
    later.outputs = [
        new_output("stream", text=repr([SOURCE])),
        new_output("execute_result", data={"text/plain": "assert answer == 'the secret answer'"}),
        new_output("stream", text="harmless"),
    ]
    cells = shown(graded(later, line=3))["cells"]
    assert ["".join(output["text"]) for output in cells[1]["outputs"]] == ["[…]", "[…]", "harmless"]
    earlier = json.loads(graded(line=3))
    earlier["cells"].insert(0, json.loads(dump(new_notebook(cells=[later])))["cells"][0])
    cells = shown(json.dumps(earlier).encode())["cells"]
    assert ["".join(output["text"]) for output in cells[0]["outputs"]] == ["[…]", "[…]", "harmless"]


def test_markers_that_do_not_pair_show_no_source_at_all() -> None:
    cell = new_code_cell("### BEGIN HIDDEN TESTS\nassert 'the secret answer'", metadata={"nbgrader": HIDDEN})
    (made,) = shown(
        dump(
            new_notebook(
                cells=[
                    cell,
                ]
            )
        )
    )["cells"]
    assert "".join(made["source"]) == "[…]"


def test_plain_notebooks_are_not_touched() -> None:
    content = dump(new_notebook(cells=[new_markdown_cell("text"), new_code_cell("1")]))
    assert json.loads(engine.redact(content, Settings()))["cells"] == json.loads(content)["cells"]
    assert engine.redact(b"not a notebook", Settings()) == b""


def _says(*outputs) -> bytes:
    source = "points = 1\n### BEGIN HIDDEN TESTS\nassert answer == 'the secret answer'\n### END HIDDEN TESTS\npoints"
    return dump(new_notebook(cells=[new_code_cell(source, metadata={"nbgrader": HIDDEN}, outputs=list(outputs))]))


def test_what_a_hidden_test_says_to_the_student_is_let_through_and_nothing_else() -> None:
    printed = "FEEDBACK: an empty list has no mean\nnothing of this\nFEEDBACK: and 2 is not 3\n"
    redacted = engine.redact(_says(new_output("stream", text=printed)), Settings())
    assert engine.reasons(redacted) == {"t": ["an empty list has no mean", "and 2 is not 3"]}
    assert b"nothing of this" not in redacted


def test_an_assertion_says_so_too() -> None:
    error = new_output(
        "error", ename="AssertionError", evalue="FEEDBACK: look at the sign", traceback=["Cell In[2], line 3", "secret"]
    )
    redacted = engine.redact(_says(error), Settings())
    assert engine.messages(redacted) == {"t": "AssertionError: look at the sign"}
    assert b"secret" not in redacted


def test_a_student_who_has_a_hidden_test_say_itself_reads_nothing() -> None:
    quoted = "FEEDBACK: assert answer == 'the secret answer'\n"
    redacted = engine.redact(_says(new_output("stream", text=quoted)), Settings())
    assert b"secret" not in redacted
    assert engine.reasons(redacted) == {}
