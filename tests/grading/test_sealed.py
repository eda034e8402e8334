"""A hidden test is in the kernel while it runs, and code there may copy it anywhere: none of that reaches a student.

Each attack is shown to work, too: those who mark see what it copied, in the code that it chose.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from grading import engine, explain
from grading.engine import Graded, Settings, Shown
from grading.engine.contract import Json
from grading.rendering import render
from tests.grading.corpus import Files, answered, cell, dump, edited_path, parse
from tests.grading.course_of_one import PYTHON
from tests.grading.plain_sandbox import PlainSandboxes

_BASE = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
TESTS = {"grade": True, "locked": True, "points": 1}
DEFAULT, STRICT = Settings(heal=True, salvage=True, warnings_cost=False), Settings()
SECRET = "assert one != 'the secret value', 'the hidden reason'"
HIDDEN = f"""assert one, "give one"
### BEGIN HIDDEN TESTS
{SECRET}
if one == 5:
    print(f"FEEDBACK: five is not it, {{one}} is what you gave")
### END HIDDEN TESTS"""


def _code(source: str, grade_id: str, **flags: object) -> NotebookNode:
    return new_code_cell(source, metadata={"nbgrader": {**_BASE, **flags, "grade_id": grade_id}})


def _answer(name: str) -> NotebookNode:
    return _code(f"### BEGIN SOLUTION\n{name} = 1\n### END SOLUTION", name, solution=True)


TASK = "Do it.\n### BEGIN MARK SCHEME\nthe secret scheme\n### END MARK SCHEME"
SOURCE = {
    "p.ipynb": [
        _answer("one"),
        _code("assert one", "before", **TESTS),
        _code(HIDDEN, "hidden", **TESTS),
        _answer("two"),
        _code("assert two\nassert two == 1, 'two is one'", "after", **TESTS),
        new_markdown_cell(
            TASK, metadata={"nbgrader": {**_BASE, "task": True, "locked": True, "grade_id": "do", "points": 1}}
        ),
    ],
    "q.ipynb": [_answer("three"), _code("assert three", "other", **TESTS)],
}
GENERATED = engine.generate(
    {path: dump(new_notebook(cells=cells, metadata=PYTHON)) for path, cells in SOURCE.items()}, STRICT
)
RELEASE = dict(GENERATED.student_files)
RIGHT = {"one": "one = 1", "two": "two = 1", "three": "three = 1"}


def work(*last: str, edit: Callable[[NotebookNode], object] | None = None, **answers: str) -> Files:
    """Work with these cells at the end of its first notebook."""

    def append(notebook: NotebookNode) -> None:
        notebook.cells += [new_code_cell(source) for source in last]
        if edit is not None:
            edit(notebook)

    return edited_path(answered(RELEASE, {**RIGHT, **answers}), "p.ipynb", append)


async def graded(files: Files, plain: PlainSandboxes, settings: Settings = DEFAULT) -> Graded:
    assert GENERATED.publishable, GENERATED.problems
    spec = engine.Spec({one.name: one for one in GENERATED.notebooks}, {}, settings)
    return await engine.grade(spec, files, plain)


def stored(record: Sequence[Json]) -> list[Json]:
    """As it comes out of a file."""
    return list(json.loads(json.dumps(record)))


def for_students(run: Graded, files: Files, name: str = "p") -> Shown:
    book = next(book for book in run.notebooks if book.name == name)
    assert book.content
    return engine.shown(
        book.content, DEFAULT, record=stored(book.record), handed_in=files.get(book.path, b""), always=True
    )


def outputs(content: bytes, number: int) -> str:
    return json.dumps(parse(content).cells[number].get("outputs"))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


NEW_LINE = "\n"
FIND = "import base64\nhidden = next(text for text in reversed(In) if 'HIDDEN ' 'TESTS' in text)\n"
ENCODE = FIND + "code = base64.b64encode(hidden.encode()).decode()\n"
SHOWS = "one = 1\ndisplay('x', display_id='q')"
UPDATE = "__import__('IPython').display.update_display({}, display_id='q')"
IN_MEMORY = "base64.b64encode(In[-1].encode()).decode()"
OF_THE_FRAME = """base64.b64encode(
            __import__('linecache').getlines(__import__('sys')._getframe(1).f_code.co_filename)[2].encode()).decode()"""


def snitch(act: str, reads: str = IN_MEMORY) -> str:
    """An answer that does this with what it reads, when a test compares it."""
    lines = ["class Snitch:", "    def __ne__(self, other):", "        import base64", f"        code = {reads}"]
    return "\n".join([*lines, f"        {act}", "        return True", "one = Snitch()"])


IN_A_VISIBLE_TEST = f"""
class Two:
    def __eq__(self, other):
        {ENCODE.replace(NEW_LINE, NEW_LINE + 8 * " ")}
        raise AssertionError(code)
two = Two()"""
COUNT = int.from_bytes(HIDDEN[45:75].encode())
NAME = HIDDEN[25:70].encode().hex()
BASE64, HEX = _base64(HIDDEN), HIDDEN.encode().hex()
PICTURE = "display({'image/png': code}, raw=True)"
WIDGET = "import ipywidgets\ndisplay(ipywidgets.HTML(code))"

#: attack → (the work, what those who mark find, and in which notebook)
ATTACKS: dict[str, tuple[Files, str, str]] = {
    "a later cell prints it": (work(FIND + "print(hidden)"), SECRET, "p"),
    "a later cell prints it without blanks": (
        work(FIND + "print(hidden.replace(' ', '_'))"), SECRET.replace(" ", "_"), "p",
    ),
    "a later cell prints its base64": (work(ENCODE + "print(code)"), BASE64, "p"),
    "a later cell is a picture of it": (work(ENCODE + PICTURE), BASE64, "p"),
    "a later cell ends with an error that says it": (work(ENCODE + "raise ValueError(code)"), BASE64, "p"),
    "a later cell ends with an error that is called so": (
        work(FIND + "raise type(hidden.encode().hex(), (Exception,), {})"), HEX, "p",
    ),
    "a later cell counts to it": (
        work(FIND + "get_ipython().execution_count = int.from_bytes(hidden[45:75].encode())", "1"), str(COUNT), "p",
    ),
    "a widget's state holds it": (work(ENCODE + WIDGET), BASE64, "p"),
    "an earlier display is changed to it": (
        work(FIND + UPDATE.format("hidden"), one=SHOWS), "hidden reason", "p",
    ),
    "an earlier display is changed to its base64": (work(ENCODE + UPDATE.format("code"), one=SHOWS), BASE64, "p"),
    "the answer changes the display while it is tested": (
        work(one=SHOWS + "\n" + snitch(UPDATE.format("code"))), BASE64, "p",
    ),
    "the answer prints the cell that compares it": (work(one=snitch("print(code)")), BASE64, "p"),
    "the answer prints the line that compares it": (
        work(one=snitch("print(code)", OF_THE_FRAME)), _base64(SECRET + "\n"), "p",
    ),
    "the answer says it as feedback": (work(one=snitch("print('FEEDBACK: ' + code)")), BASE64, "p"),
    "the answer raises it": (work(one=snitch("raise AssertionError('FEEDBACK: ' + code)")), BASE64, "p"),
    "the answer shows it": (work(one=snitch("display({'text/plain': code}, raw=True)")), BASE64, "p"),
    "a later answer raises it in a test that students see": (work(two=IN_A_VISIBLE_TEST), BASE64, "p"),
    "a file tells the next notebook": (
        work(ENCODE + "open('told.txt', 'w').write(code)", three="three = 1\nprint(open('told.txt').read())"),
        BASE64, "q",
    ),
    "the name of a file tells the next notebook": (
        work(FIND + "open(hidden[25:70].encode().hex(), 'w')", three="import os\nthree = 1\nprint(os.listdir())"),
        NAME, "q",
    ),
}  # fmt: skip


def said(content: bytes) -> str:
    """All of a notebook that its run may have written: everything but the sources."""
    notebook = parse(content)
    run = [[one.get("outputs"), one.get("execution_count"), one.metadata] for one in notebook.cells]
    return str([run, notebook.metadata]).replace("\\'", "'").replace("\\\\n", "\n").replace("\\n", "\n")


@pytest.mark.parametrize("settings", [DEFAULT, STRICT], ids=["default", "strict"])
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_hidden_test_that_was_copied_is_for_those_who_mark_only(
    attack: str, settings: Settings, plain: PlainSandboxes
) -> None:
    files, copied, name = ATTACKS[attack]
    run = await graded(files, plain, settings)
    book = next(book for book in run.notebooks if book.name == name)
    assert copied in said(book.content or b""), "the attack itself failed"
    for each in ("p", "q"):
        shown = for_students(run, files, each).content
        for secret in (copied, copied[:40]):
            assert secret not in said(shown)
        for secret in ("secret value", "hidden reason", "secret scheme"):
            assert secret not in shown.decode()


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        ("a later cell prints it", "hidden_test_quoted"),
        ("an earlier display is changed to it", "output_changed_later"),
        ("an earlier display is changed to its base64", "output_changed_later"),
    ],
)
async def test_those_who_mark_are_told_of_what_can_be_seen(attack: str, code: str, plain: PlainSandboxes) -> None:
    run = await graded(ATTACKS[attack][0], plain)
    found = [note for note in run.notebooks[0].notes if note["code"] == code]
    assert len(found) == 1
    assert code in explain.SUSPICIONS
    assert str(found[0]["cell"]) in explain.explain(explain.NOTES, found[0])


async def test_where_a_run_ended_after_a_hidden_test_says_nothing(plain: PlainSandboxes) -> None:
    """With a thousand cells that would be ten bits for each attempt."""
    seen = []
    for last in ("1", "import os\nos._exit(1)"):
        files = work(*["'a'", last, "'b'"])
        run = await graded(files, plain)
        assert bool(run.failures) == ("exit" in last)
        shown = for_students(run, files)
        cells = [(one.get("outputs"), one.get("execution_count")) for one in parse(shown.content).cells]
        seen.append((cells, shown.sealed))
    assert seen[0] == seen[1]


async def test_what_was_shown_before_the_first_hidden_test_is_shown_as_it_was(plain: PlainSandboxes) -> None:
    files = work(UPDATE.format("'later'"), one="one = 1\nprint('mine')\ndisplay('x', display_id='q')")
    run = await graded(files, plain)
    seen = for_students(run, files)
    assert "mine" in outputs(seen.content, 0)
    assert "'x'" in outputs(seen.content, 0)
    assert "later" not in outputs(seen.content, 0)
    assert parse(seen.content).cells[0].execution_count == 1
    assert "later" in outputs(run.notebooks[0].content or b"", 0)


async def test_a_test_before_the_first_hidden_one_shows_all_it_said(plain: PlainSandboxes) -> None:
    files = work(one="class One:\n    def __bool__(self):\n        raise ValueError('my own mistake')\none = One()")
    seen = for_students(await graded(files, plain), files)
    assert "my own mistake" in outputs(seen.content, 1)
    assert min(seen.sealed) == 3


async def test_a_cell_that_ran_later_shows_what_it_was_handed_in_with(plain: PlainSandboxes) -> None:
    def had_run(notebook: NotebookNode) -> None:
        for number in (-1, -2):
            notebook.cells[number].outputs = [
                {"output_type": "stream", "name": "stdout", "text": f"as it was at home {number}"}
            ]

    # The same text twice: each has its own.
    files = work("print('in grading')", "print('in grading')", edit=had_run)
    run = await graded(files, plain)
    seen = for_students(run, files)
    assert "at home -2" in outputs(seen.content, -2)
    assert "at home -1" in outputs(seen.content, -1)
    assert "in grading" in outputs(run.notebooks[0].content or b"", -1)
    assert {len(SOURCE["p.ipynb"]) + 1, len(SOURCE["p.ipynb"]) + 2} <= seen.sealed


BROKEN = [{}, {"output_type": 3}, {"output_type": "stream"}, {"output_type": "error"}, {"output_type": "display_data"}]


@pytest.mark.parametrize(
    "output", [*BROKEN, None, 3, "x", {"output_type": "execute_result", "data": {"text/plain": 3}}]
)
def test_anything_may_have_been_handed_in_as_an_output(output: object) -> None:
    files = work("1")
    content = json.loads(files["p.ipynb"])
    content["cells"][-1]["outputs"] = [output]
    broken = json.dumps(content).encode()
    assert render(engine.shown(files["p.ipynb"], DEFAULT, record=(), handed_in=broken, always=True).content)


async def test_a_test_after_a_hidden_one_says_which_visible_line_failed_and_the_teachers_words(
    plain: PlainSandboxes,
) -> None:
    files = work(two="two = 2")
    seen = for_students(await graded(files, plain), files)
    assert engine.messages(seen.content) == {"after": "AssertionError: two is one"}
    error = parse(seen.content).cells[4].outputs[0]
    assert error.traceback == ["AssertionError: two is one", "----> 2 assert two == 1, 'two is one'"]


async def test_a_hidden_test_says_that_it_failed_and_what_the_teacher_has_it_say(plain: PlainSandboxes) -> None:
    files = work(one="one = 'the secret value'")
    seen = for_students(await graded(files, plain), files)
    assert engine.messages(seen.content) == {"hidden": "AssertionError"}
    files = work(one="one = 5")
    seen = for_students(await graded(files, plain), files)
    # What stands in the source is told; the value is the student's, and might be anything.
    assert engine.reasons(seen.content) == {"hidden": ["five is not it, … is what you gave"]}


async def test_files_that_say_nothing_new_seal_nothing(plain: PlainSandboxes) -> None:
    files = work(three="three = 1\nprint('seen')")
    seen = for_students(await graded(files, plain), files, "q")
    assert seen.sealed == frozenset()
    assert "seen" in outputs(seen.content, 0)
    files = work("open('anything', 'w').close()", three="three = 1\nprint('seen')")
    assert for_students(await graded(files, plain), files, "q").sealed == {1, 2}


async def test_a_result_without_a_record_shows_nothing_that_was_run(plain: PlainSandboxes) -> None:
    """As where nbgrader itself graded: nobody noted what was shown when."""
    files = work(one="one = 1\nprint('mine')")
    book = (await graded(files, plain)).notebooks[0]
    seen = engine.shown(book.content or b"", DEFAULT, record=(), handed_in=files["p.ipynb"], always=True)
    assert "mine" not in outputs(seen.content, 0)
    assert seen.sealed == {1, 2, 3, 4, 5}


async def test_the_mark_scheme_is_neither_beside_the_notebook_nor_in_the_feedback(plain: PlainSandboxes) -> None:
    files = work(one="one = 1\nprint('SCHEME' in open('p.ipynb').read())")
    run = await graded(files, plain)
    assert b"secret scheme" in (run.notebooks[0].content or b"")
    assert all(b"secret scheme" not in data for pushed in plain.pushed for data in pushed.values())
    seen = for_students(run, files)
    assert "Do it." in parse(seen.content).cells[5].source
    assert "scheme" not in parse(seen.content).cells[5].source
    assert cell(parse(seen.content), "do") is not None
